#include "tools/cli_context.h"

#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdlib>
#include <iostream>

#include "common/base/error.h"
#include "common/env/thread_slice.h"

namespace sluice::cli {
namespace {

// Where `sluice dev` puts its first node.
constexpr char kDefaultBootstrap[] = "127.0.0.1:9001";

std::string NextStep(ErrorCode code) {
  switch (code) {
    case ErrorCode::kBrokerNotAvailable:
    case ErrorCode::kRequestTimedOut:
      return "check that the cluster runs (`sluice dev` starts a local one) "
             "and that --bootstrap or $SLUICE_BOOTSTRAP names its brokers";
    case ErrorCode::kUnknownTopicOrPartition:
      return "`sluice topic list` shows the topics; `sluice topic create` "
             "makes one";
    case ErrorCode::kGroupIdNotFound:
      return "`sluice group list` shows the groups";
    case ErrorCode::kNonEmptyGroup:
      return "stop its members, or wait for their sessions to end; `sluice "
             "group describe` shows them";
    case ErrorCode::kTopicAlreadyExists:
      return "`sluice topic describe` shows it; choose another name or delete "
             "it first";
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kLeaderNotAvailable:
    case ErrorCode::kNotController:
    case ErrorCode::kDeliveryTimedOut:
    case ErrorCode::kBufferExhausted:
      return "`sluice cluster health` says what is wrong";
    default:
      return "";
  }
}

}  // namespace

Context::Context(ConnectorFactory make_connector,
                 GroupConnectorFactory make_groups)
    : make_connector_(std::move(make_connector)),
      make_groups_(std::move(make_groups)) {}

Context::~Context() {
  groups_.reset();  // uses the client
  client_.reset();  // uses the executor
}

absl::StatusOr<BlockingGroups*> Context::Groups() {
  auto client = Client();
  if (!client.ok()) return client.status();
  if (groups_ == nullptr) {
    groups_ = std::make_unique<BlockingGroups>(*client, group_connector());
  }
  return groups_.get();
}

GroupConnector* Context::group_connector() {
  if (group_connector_ == nullptr) group_connector_ = make_groups_();
  return group_connector_.get();
}

absl::StatusOr<BlockingClient*> Context::Client() {
  std::string addresses = bootstrap;
  if (addresses.empty()) {
    const char* from_env = std::getenv("SLUICE_BOOTSTRAP");
    addresses = from_env != nullptr ? from_env : "";
  }
  return ClientOf(addresses.empty() ? kDefaultBootstrap : addresses);
}

absl::StatusOr<BlockingClient*> Context::ClientOf(
    const std::string& addresses) {
  if (client_ != nullptr) return client_.get();
  auto endpoints = ParseBootstrap(addresses);
  if (!endpoints.ok()) return Misused(endpoints.status());
  // An older kernel has none and the client does without: not worth a word on
  // every command. Before the executor and gRPC's threads, which inherit it.
  (void)RequestThreadSlice(kThreadSliceUsDefault);
  connector_ = make_connector_();
  executor_ = std::make_unique<ThreadExecutor>("client");
  ClientOptions options;
  options.bootstrap = *std::move(endpoints);
  options.on_no_answer = [](const std::string& why) {
    // One write: the command's own thread may talk as well.
    std::cerr << "waiting: " + why + "\n" << std::flush;
  };
  const uint64_t seed = static_cast<uint64_t>(clock_.MonoMicros()) ^
                        (static_cast<uint64_t>(getpid()) << 40);
  client_ = std::make_unique<BlockingClient>(
      ClientDeps{executor_.get(), &clock_, connector_.get(), seed}, options);
  return client_.get();
}

void Context::OnChosen(CLI::App* command, Body body) {
  command->callback([this, command, body = std::move(body)] {
    // A parent's callback runs after its subcommand's.
    if (!command->get_subcommands().empty()) return;
    chosen_ = body;
    chosen_name_.clear();
    for (const CLI::App* app = command; app->get_parent() != nullptr;
         app = app->get_parent()) {
      chosen_name_ = app->get_name() +
                     (chosen_name_.empty() ? "" : " " + chosen_name_);
    }
  });
}

void Context::AddOutput(CLI::App* command) {
  command
      ->add_option("-o,--output", output,
                   "table, wide, json, yaml, name; help prints the JSON's "
                   "shape")
      ->check(CLI::IsMember({"table", "wide", "json", "yaml", "name", "help"}))
      ->capture_default_str();
}

void Context::AddCluster(CLI::App* command) {
  command
      ->add_option("--bootstrap", bootstrap,
                   "host:port[,host:port...] of any brokers; else "
                   "$SLUICE_BOOTSTRAP, else 127.0.0.1:9001");
  command
      ->add_option("--timeout-ms", timeout_ms, "how long a call may take")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
}

void Context::AddYes(CLI::App* command) {
  command->add_flag("-y,--yes", yes, "do not ask");
}

int ReportError(const std::string& command, const absl::Status& status) {
  const ErrorCode code = CodeOf(status);
  std::cerr << "error: sluice " << command << ": "
            << StdView(status.message());
  if (code != ErrorCode::kUnknownServerError) {
    std::cerr << " [" << NameOf(code) << "]";
  }
  std::cerr << "\n";
  const std::string next = NextStep(code);
  if (!next.empty()) std::cerr << "  next: " << next << "\n";
  switch (code) {
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kUnknownTopicId:
      return kExitNotFound;
    default:
      return absl::IsNotFound(status) ? kExitNotFound : kExitError;
  }
}

bool StderrIsTerminal() { return isatty(STDERR_FILENO) == 1; }

absl::Status Confirm(const Context& context, const std::string& question) {
  if (context.yes) return absl::OkStatus();
  if (isatty(STDIN_FILENO) != 1) {
    return MakeError(ErrorCode::kInvalidRequest, question,
                     " There is no terminal to ask on; say --yes");
  }
  std::cerr << question << " [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidRequest, "not confirmed; nothing done");
}

}  // namespace sluice::cli
