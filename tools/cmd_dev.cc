#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <set>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/cluster_issues.h"
#include "tools/commands.h"
#include "tools/dev_cluster.h"
#include "tools/dev_guardian.h"
#include "tools/dev_node_commands.h"
#include "tools/process.h"

namespace sluice::cli {
namespace {

struct Options {
  DevShape defaults;  // for --help
  DevWishes wishes;
  std::string directory;
  std::vector<std::string> settings;
  std::string sluiced;
};

constexpr int64_t kHealthyWithinUs = 60'000'000;
constexpr int64_t kAskEveryUs = 50'000;
constexpr int64_t kLookEveryUs = 200'000;
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

// What is in the directory, or a new cluster.
absl::StatusOr<DevCluster> Resolve(const Options& options) {
  if (DevCluster::Exists(options.directory)) {
    ASSIGN_OR_RETURN(const DevCluster there,
                     DevCluster::Load(options.directory));
    ASSIGN_OR_RETURN(const DevShape shape,
                     ResumedShape(there.shape(), options.wishes,
                                  options.directory));
    return DevCluster(options.directory, shape);
  }
  DevShape shape = NewShape(options.wishes);
  if (shape.port_base != 0) return DevCluster(options.directory, shape);
  for (shape.port_base = kPortBaseFrom; shape.port_base < kPortBaseTo;
       shape.port_base += kDevPortsSpan) {
    DevCluster cluster(options.directory, shape);
    if (cluster.CheckPorts(cluster.nodes()).ok()) return cluster;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no free ports from ",
                   kPortBaseFrom, " to ", kPortBaseTo);
}

std::string HowItEnded(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return StrCat("ended by signal ", WTERMSIG(wait_status), " (",
                  std::string(strsignal(WTERMSIG(wait_status))), ")");
  }
  return StrCat("ended with exit code ", WEXITSTATUS(wait_status));
}

// Tells which nodes ended without having been asked to.
class Watcher {
 public:
  explicit Watcher(const DevCluster& cluster) : cluster_(cluster) {}

  struct Crash {
    DevNode node;
    std::string how;
  };
  // Each crash once.
  std::vector<Crash> Look() {
    int wait_status = 0;
    for (pid_t pid; (pid = waitpid(-1, &wait_status, WNOHANG)) > 0;) {
      ended_[pid] = wait_status;
    }
    std::vector<Crash> crashes;
    for (const DevNode& node : cluster_.nodes()) {
      if (const auto pid = cluster_.PidOf(node); pid.has_value()) {
        pids_[node.name] = *pid;
        continue;
      }
      if (!cluster_.Crashed(node)) continue;
      const auto ended = ended_.find(pids_[node.name]);
      crashes.push_back(
          {node, ended == ended_.end() ? "ended" : HowItEnded(ended->second)});
      cluster_.ForgetCrash(node);
    }
    return crashes;
  }

 private:
  const DevCluster& cluster_;
  std::map<pid_t, int> ended_;         // our children, how
  std::map<std::string, pid_t> pids_;  // last seen
};

void TellCrash(const DevCluster& cluster, const Watcher::Crash& crash) {
  std::cerr << crash.node.name << " " << crash.how << "; `sluice dev start "
            << crash.node.name << " --dir " << cluster.directory()
            << "` starts it again. " << cluster.EndOfLog(crash.node)
            << std::flush;
}

// OK: all that run are healthy; `ended` are told, and not waited for: what is
// wrong with one node's directory is no reason to stop the others.
// kCancelled: asked to end.
absl::Status AwaitHealthy(Context* context, const DevCluster& cluster,
                          Watcher& watcher, std::set<std::string>& ended) {
  ASSIGN_OR_RETURN(BlockingClient * client,
                   context->ClientOf(BootstrapOf(cluster.shape())));
  const int64_t end_us = context->clock().MonoMicros() + kHealthyWithinUs;
  int brokers_ended = 0;
  std::string why = "no answer yet";
  while (context->clock().MonoMicros() < end_us) {
    for (const auto& crash : watcher.Look()) {
      ended.insert(crash.node.name);
      brokers_ended += crash.node.is_broker ? 1 : 0;
      if (ended.size() == cluster.nodes().size()) {
        return MakeError(ErrorCode::kInvalidRequest, crash.node.name, " ",
                         crash.how, " while starting, and no other runs. ",
                         cluster.EndOfLog(crash.node));
      }
      TellCrash(cluster, crash);
    }
    const auto answer = client->DescribeCluster(1'000'000);
    if (answer.ok()) {
      int up = 0;
      for (const auto& broker : answer->brokers()) up += !broker.fenced();
      if (up >= cluster.shape().nodes - brokers_ended &&
          (!ended.empty() || !HasIssueToMend(*answer)) &&
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

void Supervise(const DevCluster& cluster, Watcher& watcher) {
  while (!EndAsked(kLookEveryUs)) {
    for (const auto& crash : watcher.Look()) TellCrash(cluster, crash);
    cluster.RotateLogs();
  }
}

absl::Status RunCluster(Context* context, const DevCluster& cluster,
                        const std::string& sluiced) {
  ASSIGN_OR_RETURN(const auto guardian, DevGuardian::Start(cluster));
  // Before any thread exists, so that all inherit the mask.
  const sigset_t set = EndSignals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const int64_t start_us = context->clock().MonoMicros();
  absl::Status status;
  for (const DevNode& node : cluster.nodes()) {
    status = cluster.Start(node, sluiced).status();
    if (!status.ok()) break;
  }
  Watcher watcher(cluster);
  std::set<std::string> ended;
  if (status.ok()) status = AwaitHealthy(context, cluster, watcher, ended);
  if (status.ok()) {
    const int nodes = cluster.shape().nodes;
    if (ended.empty()) {
      std::cerr << nodes << (nodes == 1 ? " node" : " nodes") << " healthy";
    } else {
      std::cerr << cluster.nodes().size() - ended.size() << " of "
                << cluster.nodes().size() << " processes run";
    }
    std::cerr << " after "
              << (context->clock().MonoMicros() - start_us) / 1000
              << " ms in " << cluster.directory() << "; Ctrl-C stops them\n";
    std::cout << "SLUICE_BOOTSTRAP=" << BootstrapOf(cluster.shape())
              << std::endl;
    Supervise(cluster, watcher);
  } else if (absl::IsCancelled(status)) {
    status = absl::OkStatus();
  }
  std::cerr << "stopping...\n";
  cluster.StopAll();
  return status;
}

// One `sluice dev` a directory; held until this process and its guardian end.
absl::Status LockDirectory(const std::string& directory) {
  const int lock =
      open((directory + "/dev.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC,
           0644);
  if (lock < 0) {
    return MakeError(ErrorCode::kStorageError, "cannot write in ", directory,
                     "; name another --dir");
  }
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    close(lock);
    return MakeError(ErrorCode::kDataDirInUse, "another `sluice dev` runs in ",
                     directory, "; name another --dir or stop it");
  }
  return absl::OkStatus();
}

absl::Status Dev(Context* context, Options options) {
  if (options.directory.empty()) options.directory = DefaultDevDirectory();
  if (!options.settings.empty()) {
    std::string all;
    for (const std::string& setting : options.settings) {
      all += (all.empty() ? "" : ",") + setting;
    }
    options.wishes.settings = all;
  }
  ASSIGN_OR_RETURN(const std::string sluiced, FindSluiced(options.sluiced));
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  const auto whole = std::filesystem::canonical(options.directory, error);
  if (error) {
    return MakeError(ErrorCode::kInvalidRequest, "--dir ", options.directory,
                     ": ", error.message());
  }
  options.directory = whole.string();
  RETURN_IF_ERROR(LockDirectory(options.directory));
  ASSIGN_OR_RETURN(const DevCluster cluster, Resolve(options));
  for (const DevNode& node : cluster.nodes()) {
    if (const auto pid = cluster.PidOf(node); pid.has_value()) {
      return MakeError(ErrorCode::kDataDirInUse, node.name, " still runs, pid ",
                       *pid, ", from an earlier `sluice dev`; `sluice dev "
                       "stop all --dir ", options.directory, "` stops it");
    }
    cluster.ForgetCrash(node);
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
      command->add_option("--nodes", options->defaults.nodes, "brokers")
          ->check(CLI::Range(1, DevShape::kNodesMax))
          ->capture_default_str();
  CLI::Option* controllers =
      command
          ->add_option("--controllers", options->defaults.controllers,
                       "controllers of their own; 0: the first three nodes "
                       "have both roles")
          ->check(CLI::Range(0, DevShape::kControllersMax))
          ->capture_default_str();
  command->add_option("--dir", options->directory,
                      "where it lives; run again on it, it resumes; default " +
                          DefaultDevDirectory());
  CLI::Option* ports =
      command
          ->add_option("--port-base", options->defaults.port_base,
                       "node i: clients P+i, internal P+100+i, metrics "
                       "P+200+i; controller i: P+300+i, P+400+i; 0: finds "
                       "free ones")
          ->check(CLI::Range(0, 65'535 - kDevPortsSpan))
          ->capture_default_str();
  command
      ->add_option("--set", options->settings,
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
  context->OnChosen(command, [context, options, nodes, controllers, ports] {
    const DevShape& given = options->defaults;
    if (nodes->count() > 0) options->wishes.nodes = given.nodes;
    if (controllers->count() > 0) {
      options->wishes.controllers = given.controllers;
    }
    if (ports->count() > 0) options->wishes.port_base = given.port_base;
    return Dev(context, *options);
  });
}

}  // namespace sluice::cli
