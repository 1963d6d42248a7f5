#include "tools/cli_app.h"

#include <poll.h>
#include <unistd.h>

#include <iostream>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "common/base/error.h"
#include "common/base/version.h"
#include "tools/commands.h"
#include "tools/usage_error.h"

namespace sluice::cli {
namespace {

void AddCommands(CLI::App& app, Context& context) {
  AddDev(&app, &context);
  CLI::App* cluster =
      app.add_subcommand("cluster", "nodes, controller, health");
  cluster->require_subcommand(1);
  AddClusterInfo(cluster, &context);
  AddClusterHealth(cluster, &context);
  CLI::App* topic = app.add_subcommand("topic", "create, look at, delete");
  topic->require_subcommand(1);
  AddTopicCreate(topic, &context);
  AddTopicList(topic, &context);
  AddTopicDescribe(topic, &context);
  AddTopicTrim(topic, &context);
  AddTopicAddPartitions(topic, &context);
  AddTopicDelete(topic, &context);
  CLI::App* config =
      app.add_subcommand("config", "look at and change a topic's configs");
  config->require_subcommand(1);
  AddConfigGet(config, &context);
  AddConfigSet(config, &context);
  AddConfigUnset(config, &context);
  CLI::App* partition =
      app.add_subcommand("partition", "elect leaders, mend replicas");
  partition->require_subcommand(1);
  AddPartitionElect(partition, &context);
  AddPartitionResetReplica(partition, &context);
  AddProduce(&app, &context);
  AddConsume(&app, &context);
  CLI::App* group =
      app.add_subcommand("group", "consumer groups and their offsets");
  group->require_subcommand(1);
  AddGroupList(group, &context);
  AddGroupDescribe(group, &context);
  AddGroupSeek(group, &context);
  AddGroupDelete(group, &context);
  AddGroupDeleteOffsets(group, &context);
  CLI::App* log = app.add_subcommand("log", "read files of a log, offline");
  log->require_subcommand(1);
  AddLogDump(log, &context);
  CLI::App* bench = app.add_subcommand("bench", "measure a cluster or a disk");
  bench->require_subcommand(1);
  AddBenchProduce(bench, &context);
  AddBenchConsume(bench, &context);
  AddBenchE2e(bench, &context);
  AddBenchFailover(bench, &context);
  AddBenchMetadata(bench, &context);
  AddBenchFsync(bench, &context);
  AddCompletion(&app, &context);
  AddVerifyRun(&app, &context);
}

// What was printed is not all there: the disk behind stdout is full, say. A
// reader that left (`| head`) has what it wanted and is no error.
bool LostOutput() {
  if (std::cout.flush().good()) return false;
  pollfd out{.fd = STDOUT_FILENO, .events = POLLOUT, .revents = 0};
  return poll(&out, 1, 0) < 0 || (out.revents & POLLERR) == 0;
}

}  // namespace

int RunCli(int argc, const char* const* argv, ConnectorFactory make_connector,
           GroupConnectorFactory make_groups) {
  CLI::App app("Sluice: a replicated, durable log. Start with `sluice dev`.",
               "sluice");
  app.set_version_flag("--version", std::string("sluice ") + kVersion);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(
      "Exit codes: 0 ok, 1 error, 2 usage, 3 unhealthy, 4 not found.\n"
      "`sluice COMMAND --help` shows options and examples.");
  Context context(std::move(make_connector), std::move(make_groups));
  app.add_option("--bootstrap", context.bootstrap,
                 "host:port[,host:port...] of any brokers; may also stand "
                 "behind the command");
  AddCommands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // CLI11 reports by throwing
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error, std::cout, std::cerr);
      return kExitOk;
    }
    std::cerr << UsageErrorText(app, error);
    return kExitUsage;
  }
  const absl::Status status = context.chosen()();
  if (LostOutput()) {
    ReportError(context.chosen_name(),
                MakeError(ErrorCode::kStorageError,
                          "stdout cannot be written, part of the output is "
                          "lost; free space where it goes, then run it again"));
    return kExitError;
  }
  if (!status.ok()) {
    const int code = ReportError(context.chosen_name(), status);
    return context.exit.value_or(code);
  }
  return context.exit.value_or(kExitOk);
}

}  // namespace sluice::cli
