// A client whose parts a bench drives itself, on its one executor.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>

#include "client/client_types.h"
#include "client/group/group_connections.h"
#include "client/metadata_cache.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"

namespace sluice::bench {

class BenchClient {
 public:
  explicit BenchClient(ClientOptions options);
  ~BenchClient();

  // Runs `body` on the executor; its result when `body` gave it to `done`.
  template <class Result>
  Result Await(std::function<void(std::function<void(Result)> done)> body) {
    auto promise = std::make_shared<std::promise<Result>>();
    executor_.Post([body = std::move(body), promise] {
      body([promise](Result result) { promise->set_value(std::move(result)); });
    });
    return promise->get_future().get();
  }

  const Clock& clock() const { return clock_; }
  const ClientDeps& deps() const { return deps_; }
  const ClientOptions& options() const { return options_; }
  GroupConnector* group_connector() { return groups_.get(); }
  // On the executor.
  MetadataCache* metadata() { return metadata_.get(); }
  GroupConnections* connections() { return connections_.get(); }

 private:
  const ClientOptions options_;
  RealClock clock_;
  std::unique_ptr<BrokerConnector> brokers_;
  std::unique_ptr<GroupConnector> groups_;
  ThreadExecutor executor_;
  ClientDeps deps_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<GroupConnections> connections_;
};

}  // namespace sluice::bench
