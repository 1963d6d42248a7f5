// What every command of `sluice` shares: where the cluster is, how to print,
// and a client once somebody needs one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/blocking_client.h"
#include "client/group/blocking_groups.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"
#include "tools/output.h"

namespace CLI {
class App;
}

namespace sluice::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,
  kExitUsage = 2,
  kExitUnhealthy = 3,
  kExitNotFound = 4,
};

// How commands reach brokers: gRPC in the binary, a fake in tests.
using ConnectorFactory = std::function<std::unique_ptr<BrokerConnector>()>;
using GroupConnectorFactory =
    std::function<std::unique_ptr<GroupConnector>()>;

// Options that any command takes. A command's body returns a status; `exit`
// overrides the code that the status would give.
class Context {
 public:
  Context(ConnectorFactory make_connector, GroupConnectorFactory make_groups);
  ~Context();

  std::string bootstrap;
  std::string output = "table";
  int64_t timeout_ms = 30'000;
  bool yes = false;
  std::optional<int> exit;

  OutputFormat format() const { return OutputFormatFromName(output); }
  // Connects nothing by itself. INVALID_REQUEST for a bad --bootstrap.
  absl::StatusOr<BlockingClient*> Client();
  absl::StatusOr<BlockingClient*> ClientOf(const std::string& addresses);
  // Groups from outside; as Client.
  absl::StatusOr<BlockingGroups*> Groups();
  // For members of groups, once Client was asked for.
  GroupConnector* group_connector();
  // For a command line that only its command could judge: exit code 2.
  absl::Status Misused(absl::Status why) {
    exit = kExitUsage;
    return why;
  }
  int64_t timeout_us() const { return timeout_ms * 1000; }
  const Clock& clock() const { return clock_; }

  // Registers what a command does; the last one chosen is run by main.
  using Body = std::function<absl::Status()>;
  void OnChosen(CLI::App* command, Body body);
  const Body& chosen() const { return chosen_; }
  const std::string& chosen_name() const { return chosen_name_; }

  // -o, for commands that read.
  void AddOutput(CLI::App* command);
  // --bootstrap and --timeout-ms, for commands that call a cluster.
  void AddCluster(CLI::App* command);
  void AddYes(CLI::App* command);

 private:
  const ConnectorFactory make_connector_;
  const GroupConnectorFactory make_groups_;
  RealClock clock_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<ThreadExecutor> executor_;
  std::unique_ptr<GroupConnector> group_connector_;
  std::unique_ptr<BlockingClient> client_;
  std::unique_ptr<BlockingGroups> groups_;
  Body chosen_;
  std::string chosen_name_;
};

// Prints cause, object and next step to stderr; returns the exit code.
int ReportError(const std::string& command, const absl::Status& status);

// Asks on the terminal; false without a terminal: then --yes is needed and
// the status says so.
absl::Status Confirm(const Context& context, const std::string& question);

bool StderrIsTerminal();

}  // namespace sluice::cli
