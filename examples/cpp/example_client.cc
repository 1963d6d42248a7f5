#include "examples/cpp/example_client.h"

#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "client/grpc_peers/grpc_broker_connector.h"
#include "client/grpc_peers/grpc_group_connector.h"
#include "common/base/error.h"

namespace sluice::example {
namespace {

std::atomic<bool> stopped = false;
void Stop(int) { stopped = true; }

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Make(const Options& options) {
  auto brokers = ParseBootstrap(options.bootstrap);
  if (!brokers.ok()) return brokers.status();
  std::unique_ptr<Client> made(new Client(options));
  made->connector_ = MakeGrpcBrokerConnector();
  made->groups_ = MakeGrpcGroupConnector();
  made->executor_ = std::make_unique<ThreadExecutor>("client");
  ClientOptions client;
  client.bootstrap = *std::move(brokers);
  made->client_ = std::make_unique<BlockingClient>(
      ClientDeps{made->executor_.get(), &made->clock_, made->connector_.get(),
                 static_cast<uint64_t>(getpid())},
      client);
  return made;
}

GroupConsumerOptions Client::consumer_options() const {
  GroupConsumerOptions options;
  options.membership.group_id = options_.group;
  options.membership.instance_id = options_.instance_id;
  options.membership.client_id = "sluice-example";
  options.membership.session_timeout_ms = options_.session_timeout_ms;
  options.membership.heartbeat_interval_ms = 1'000;
  // What the examples in other languages know.
  options.membership.assignors = {consumer::Assignor::kRange};
  options.fetching.partition_bytes_max = options_.fetch_bytes;
  options.reset = GroupReset::kEarliest;
  options.auto_commit = false;
  return options;
}

bool Stopped() { return stopped; }

bool IsOfGeneration(const absl::Status& status) {
  const ErrorCode code = CodeOf(status);
  return code == ErrorCode::kRebalanceInProgress ||
         code == ErrorCode::kIllegalGeneration ||
         code == ErrorCode::kUnknownMemberId;
}

void Print(const ConsumerRecord& record) {
  std::cout << record.tp.topic << " " << record.tp.partition << " "
            << record.offset << " " << record.value.value_or("") << "\n";
}

int Main(int argc, char** argv, const std::string& about, bool with_db,
         absl::Status (*run)(const Options&)) {
  Options options;
  if (const char* brokers = std::getenv("SLUICE_BOOTSTRAP")) {
    options.bootstrap = brokers;
  }
  CLI::App app(about);
  app.option_defaults()->always_capture_default();
  app.add_option("--bootstrap", options.bootstrap, "brokers, host:port,...");
  app.add_option("--topic", options.topic, "what to read");
  app.add_option("--group", options.group, "who shares it");
  app.add_option("--instance-id", options.instance_id,
                 "a name of its own: a restart under it costs no rebalance");
  app.add_option("--session-timeout-ms", options.session_timeout_ms,
                 "how long a silent member keeps its part");
  app.add_option("--fetch-bytes", options.fetch_bytes,
                 "of a partition at a time; a batch at least");
  if (with_db) app.add_option("--db", options.db, "the database");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  std::signal(SIGINT, Stop);
  std::signal(SIGTERM, Stop);
  const absl::Status status = run(options);
  if (status.ok()) return 0;
  std::cerr << argv[0] << ": " << status.message() << " ["
            << NameOf(CodeOf(status)) << "]\n";
  return 1;
}

}  // namespace sluice::example
