// What the examples share: a command line, SIGTERM, and a client with all that
// it runs on.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/blocking_client.h"
#include "client/group/blocking_groups.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"

namespace sluice::example {

inline constexpr int64_t kPollUs = 300'000;
inline constexpr int64_t kPollBytes = 1 << 20;

struct Options {
  std::string bootstrap = "127.0.0.1:9001";
  std::string topic = "orders";
  std::string group = "example";
  std::string instance_id;
  int32_t session_timeout_ms = 10'000;
  int32_t fetch_bytes = 256 << 10;
  std::string db = "output.sqlite";  // exactly_once alone
};

class Client {
 public:
  // INVALID_REQUEST for a bad list of brokers. Connects nothing by itself.
  static absl::StatusOr<std::unique_ptr<Client>> Make(const Options& options);

  BlockingClient* client() { return client_.get(); }
  GroupConnector* groups() { return groups_.get(); }
  // Without auto-commit: each example says when.
  GroupConsumerOptions consumer_options() const;

 private:
  explicit Client(Options options) : options_(std::move(options)) {}

  const Options options_;
  RealClock clock_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<GroupConnector> groups_;
  std::unique_ptr<ThreadExecutor> executor_;
  std::unique_ptr<BlockingClient> client_;
};

// SIGINT or SIGTERM came.
bool Stopped();
// The group goes on without what was just said: the next Poll tells what
// becomes of the partitions.
bool IsOfGeneration(const absl::Status& status);
void Print(const ConsumerRecord& record);

// Parses, runs, says what failed. The exit code.
int Main(int argc, char** argv, const std::string& about, bool with_db,
         absl::Status (*run)(const Options&));

}  // namespace sluice::example
