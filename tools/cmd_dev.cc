#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include <CLI/App.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/commands.h"
#include "tools/dev_cluster.h"
#include "tools/dev_node_commands.h"
#include "tools/process.h"

namespace sluice::cli {
namespace {

struct Options {
  DevShape shape;
  bool shape_given = false;
  std::string directory;
  std::vector<std::string> settings;
  std::string sluiced;
};

constexpr int64_t kHealthyWithinUs = 60'000'000;
constexpr int64_t kAskEveryUs = 50'000;
constexpr int kPortBaseFrom = 9000;
constexpr int kPortBaseTo = 30'000;

sigset_t EndSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

// Waits for one of them; they are blocked in every thread.
bool EndAsked(int64_t timeout_us) {
  const sigset_t set = EndSignals();
  const timespec timeout{timeout_us / 1'000'000,
                         (timeout_us % 1'000'000) * 1000};
  return sigtimedwait(&set, nullptr, &timeout) > 0;
}

absl::StatusOr<DevCluster> Resolve(const Options& options) {
  DevShape shape = options.shape;
  for (const std::string& setting : options.settings) {
    shape.settings += (shape.settings.empty() ? "" : ",") + setting;
  }
  if (DevCluster::Exists(options.directory)) {
    ASSIGN_OR_RETURN(const DevCluster there,
                     DevCluster::Load(options.directory));
    if (!options.shape_given) return there;
    if (shape.nodes != there.shape().nodes ||
        shape.controllers != there.shape().controllers) {
      return MakeError(
          ErrorCode::kInvalidRequest, options.directory, " holds ",
          there.shape().nodes, " nodes and ", there.shape().controllers,
          " controllers; leave --nodes and --controllers out to resume it, or "
          "name another --dir");
    }
    // The quorum's addresses are in its log: the ports stay.
    shape.port_base = there.shape().port_base;
    if (options.settings.empty()) shape.settings = there.shape().settings;
    return DevCluster(options.directory, shape);
  }
  if (shape.port_base != 0) return DevCluster(options.directory, shape);
  for (shape.port_base = kPortBaseFrom; shape.port_base < kPortBaseTo;
       shape.port_base += 500) {
    DevCluster cluster(options.directory, shape);
    if (cluster.CheckPorts(cluster.nodes()).ok()) return cluster;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no free ports from ",
                   kPortBaseFrom, " to ", kPortBaseTo);
}

// The ones that stopped by themselves, told once each.
std::vector<DevNode> ReapDead(const DevCluster& cluster,
                              std::map<std::string, pid_t>& running) {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  std::vector<DevNode> dead;
  for (const DevNode& node : cluster.nodes()) {
    const auto pid = cluster.PidOf(node);
    const auto known = running.find(node.name);
    if (pid.has_value()) {
      running[node.name] = *pid;
    } else if (known != running.end()) {
      running.erase(known);
      dead.push_back(node);
    }
  }
  return dead;
}

// The log of a process that died, which says why.
absl::Status DiedAtStart(const DevCluster& cluster, const DevNode& node) {
  const std::string path = cluster.PathOf(node, "sluiced.log");
  return MakeError(ErrorCode::kInvalidRequest, node.name,
                   " ended while starting. The end of ", path, ":\n",
                   LastLines(path, 12));
}

// OK: healthy. kCancelled: asked to end.
absl::Status WaitHealthy(Context* context, const DevCluster& cluster,
                         std::map<std::string, pid_t>& running) {
  ASSIGN_OR_RETURN(BlockingClient * client,
                   context->ClientOf(cluster.Bootstrap()));
  const int64_t end_us = context->clock().MonoMicros() + kHealthyWithinUs;
  std::string why = "no answer yet";
  while (context->clock().MonoMicros() < end_us) {
    for (const DevNode& node : ReapDead(cluster, running)) {
      return DiedAtStart(cluster, node);
    }
    const auto answer = client->DescribeCluster(1'000'000);
    if (answer.ok()) {
      int up = 0;
      for (const auto& broker : answer->brokers()) up += !broker.fenced();
      if (up == cluster.shape().nodes && answer->issues().empty() &&
          answer->active_controller_id() > 0) {
        return absl::OkStatus();
      }
      why = StrCat(up, " of ", cluster.shape().nodes, " brokers are up");
      for (const auto& issue : answer->issues()) why += "; " + issue.message();
    } else {
      why = std::string(StdView(answer.status().message()));
    }
    if (EndAsked(kAskEveryUs)) return absl::CancelledError("asked to end");
  }
  return MakeError(ErrorCode::kRequestTimedOut,
                   "the cluster is not healthy after ",
                   kHealthyWithinUs / 1'000'000, " s: ", why,
                   ". The logs are ", cluster.directory(), "/*/sluiced.log");
}

void Supervise(const DevCluster& cluster,
               std::map<std::string, pid_t>& running) {
  while (!EndAsked(200'000)) {
    for (const DevNode& node : ReapDead(cluster, running)) {
      std::cerr << node.name << " stopped; `sluice dev start " << node.name
                << " --dir " << cluster.directory() << "` starts it again\n";
    }
    cluster.RotateLogs();
  }
}

absl::Status RunCluster(Context* context, const DevCluster& cluster,
                        const std::string& sluiced) {
  // Before any thread exists, so that all inherit the mask.
  const sigset_t set = EndSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int64_t start_us = context->clock().MonoMicros();
  std::map<std::string, pid_t> running;
  absl::Status status;
  for (const DevNode& node : cluster.nodes()) {
    const auto pid = cluster.Start(node, sluiced);
    status = pid.status();
    if (!status.ok()) break;
    running[node.name] = *pid;
  }
  if (status.ok()) status = WaitHealthy(context, cluster, running);
  if (status.ok()) {
    std::cerr << cluster.shape().nodes << " nodes healthy after "
              << (context->clock().MonoMicros() - start_us) / 1000
              << " ms in " << cluster.directory() << "; Ctrl-C stops them\n";
    std::cout << "SLUICE_BOOTSTRAP=" << cluster.Bootstrap() << std::endl;
    Supervise(cluster, running);
  } else if (absl::IsCancelled(status)) {
    status = absl::OkStatus();
  }
  std::cerr << "stopping...\n";
  cluster.StopAll();
  return status;
}

absl::Status Dev(Context* context, Options options) {
  if (options.directory.empty()) options.directory = DefaultDevDirectory();
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  const auto whole = std::filesystem::canonical(options.directory, error);
  if (error) {
    return MakeError(ErrorCode::kInvalidRequest, "--dir ", options.directory,
                     ": ", error.message());
  }
  options.directory = whole.string();
  ASSIGN_OR_RETURN(const std::string sluiced, FindSluiced(options.sluiced));
  const int lock = open((options.directory + "/dev.lock").c_str(),
                        O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
    return MakeError(ErrorCode::kDataDirInUse, "another `sluice dev` runs in ",
                     options.directory, "; name another --dir or stop it");
  }
  ASSIGN_OR_RETURN(const DevCluster cluster, Resolve(options));
  for (const DevNode& node : cluster.nodes()) {
    if (const auto pid = cluster.PidOf(node); pid.has_value()) {
      return MakeError(ErrorCode::kDataDirInUse, node.name, " still runs, pid ",
                       *pid, ", from an earlier `sluice dev`; `sluice dev "
                       "stop all --dir ", options.directory, "` stops it");
    }
  }
  RETURN_IF_ERROR(cluster.CheckPorts(cluster.nodes()));
  RETURN_IF_ERROR(cluster.WriteFiles());
  return RunCluster(context, cluster, sluiced);
}

}  // namespace

void AddDev(CLI::App* root, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root->add_subcommand(
      "dev", "a local cluster in the foreground; Ctrl-C stops it");
  CLI::Option* nodes =
      command->add_option("--nodes", options->shape.nodes, "brokers")
          ->check(CLI::Range(1, DevCluster::kNodesMax))
          ->capture_default_str();
  CLI::Option* controllers =
      command
          ->add_option("--controllers", options->shape.controllers,
                       "controllers of their own; 0: the first three nodes "
                       "have both roles")
          ->check(CLI::Range(0, DevCluster::kControllersMax))
          ->capture_default_str();
  command->add_option("--dir", options->directory,
                      "where it lives; run again on it, it resumes; default " +
                          DefaultDevDirectory());
  command
      ->add_option("--port-base", options->shape.port_base,
                   "node i: clients P+i, internal P+100+i, metrics P+200+i; "
                   "controller i: P+300+i, P+400+i; 0: finds free ones")
      ->check(CLI::Range(0, 65'000))
      ->capture_default_str();
  command->add_option("--set", options->settings,
                      "key=value, a default of every node; repeatable")
      ->allow_extra_args(false);
  command->add_option("--sluiced", options->sluiced,
                      "the server's binary; else $SLUICED, else beside this");
  command->footer(
      "Examples:\n  sluice dev\n"
      "  sluice dev --nodes 5 --controllers 3 --dir /tmp/c --port-base 19000\n"
      "  sluice dev stop node-1 --kill --dir /tmp/c   # from another terminal");
  AddDevStart(command, context);
  AddDevStop(command, context);
  context->OnChosen(command, [context, options, nodes, controllers] {
    options->shape_given = nodes->count() + controllers->count() > 0;
    return Dev(context, *options);
  });
}

}  // namespace sluice::cli
