#include "tools/dev_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/process.h"

namespace sluice::cli {
namespace {

constexpr int kLogLinesShown = 12;
constexpr int64_t kLookEveryUs = 20'000;
// The second line of a pid file whose process was asked to stop.
constexpr char kAsked[] = "asked to stop\n";

absl::Status WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file.good()) return absl::OkStatus();
  return MakeError(ErrorCode::kStorageError, "cannot write ", path);
}

}  // namespace

bool DevCluster::Exists(const std::string& directory) {
  return access((directory + "/dev.json").c_str(), R_OK) == 0;
}

absl::StatusOr<DevCluster> DevCluster::Load(const std::string& directory) {
  const auto text = ReadWholeFile(directory + "/dev.json");
  if (!text.ok()) {
    return MakeError(ErrorCode::kInvalidRequest, "there is no dev cluster in ",
                     directory, "; `sluice dev --dir ", directory,
                     "` starts one");
  }
  const auto shape = ShapeFromJson(*text);
  if (!shape.ok()) {
    return MakeError(ErrorCode::kInvalidRequest, directory, "/dev.json: ",
                     shape.status().message(),
                     "; name another --dir, or remove this one");
  }
  return DevCluster(directory, *shape);
}

absl::StatusOr<DevNode> DevCluster::Find(const std::string& name) const {
  std::string known;
  for (const DevNode& node : nodes_) {
    if (node.name == name) return node;
    known += (known.empty() ? "" : ", ") + node.name;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no '", name, "' in ",
                   directory_, "; it has ", known);
}

absl::StatusOr<DevNode> DevCluster::FindId(int id) const {
  for (const DevNode& node : nodes_) {
    if (node.id == id) return node;
  }
  return MakeError(ErrorCode::kInvalidRequest, "node ", id, " is not one of ",
                   directory_, "; is --bootstrap another cluster?");
}

std::string DevCluster::PathOf(const DevNode& node,
                               const std::string& file) const {
  return directory_ + "/" + node.name + "/" + file;
}

absl::Status DevCluster::WriteFiles() const {
  std::error_code error;
  for (const DevNode& node : nodes_) {
    std::filesystem::create_directories(directory_ + "/" + node.name, error);
    if (error) {
      return MakeError(ErrorCode::kStorageError, "cannot create ", directory_,
                       "/", node.name, ": ", error.message());
    }
    RETURN_IF_ERROR(WriteFile(PathOf(node, "sluiced.flags"),
                              FlagsOf(shape_, node, directory_)));
  }
  return WriteFile(directory_ + "/dev.json", DevJson(shape_));
}

absl::Status DevCluster::CheckPorts(const std::vector<DevNode>& nodes) const {
  std::string busy;
  for (const DevNode& node : nodes) {
    for (const auto& [port, what] :
         {std::pair{node.client_port, "clients"},
          std::pair{node.internal_port, "internal"},
          std::pair{node.metrics_port, "metrics"}}) {
      if (port == 0 || !PortIsBusy(port)) continue;
      busy += StrCat(busy.empty() ? "" : ", ", port, " (", node.name, ", ",
                     what, ")");
    }
  }
  if (busy.empty()) return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidRequest, "ports in use: ", busy,
                   "; choose others with --port-base (0 finds free ones), or "
                   "stop what listens there (`ss -ltnp` shows it)");
}

absl::StatusOr<pid_t> DevCluster::Start(const DevNode& node,
                                        const std::string& sluiced) const {
  if (const auto pid = PidOf(node); pid.has_value()) {
    return MakeError(ErrorCode::kInvalidRequest, node.name,
                     " runs already, pid ", *pid, "; `sluice dev stop ",
                     node.name, " --dir ", directory_, "` stops it");
  }
  ASSIGN_OR_RETURN(
      const pid_t pid,
      Spawn({sluiced, "--flagfile=" + PathOf(node, "sluiced.flags")},
            PathOf(node, "sluiced.log")));
  RETURN_IF_ERROR(
      WriteFile(PathOf(node, "sluiced.pid"), std::to_string(pid) + "\n"));
  return pid;
}

absl::Status DevCluster::AwaitListening(const DevNode& node, pid_t pid,
                                        int64_t timeout_us) const {
  // Its metrics are served last; that a port is busy may be no more than its
  // own look whether it is free.
  const int port = node.metrics_port;
  for (int64_t waited_us = 0; !AnswersHttp(port); waited_us += kLookEveryUs) {
    waitpid(pid, nullptr, WNOHANG);
    if (!IsAlive(pid)) {
      ForgetCrash(node);
      return MakeError(ErrorCode::kInvalidRequest, node.name,
                       " ended while starting. ", EndOfLog(node));
    }
    if (waited_us >= timeout_us) {
      return MakeError(ErrorCode::kRequestTimedOut, node.name, " (pid ", pid,
                       ") does not answer on ", port,
                       " (metrics) yet; its log is ",
                       PathOf(node, "sluiced.log"));
    }
    usleep(kLookEveryUs);
  }
  return absl::OkStatus();
}

std::optional<pid_t> DevCluster::PidOf(const DevNode& node) const {
  const auto text = ReadWholeFile(PathOf(node, "sluiced.pid"));
  if (!text.ok()) return std::nullopt;
  const pid_t pid = std::atoi(text->c_str());
  if (!IsAliveWith(pid, PathOf(node, "sluiced.flags"))) return std::nullopt;
  return pid;
}

bool DevCluster::Crashed(const DevNode& node) const {
  if (PidOf(node).has_value()) return false;
  const auto text = ReadWholeFile(PathOf(node, "sluiced.pid"));
  return text.ok() && text->find(kAsked) == std::string::npos;
}

void DevCluster::ForgetCrash(const DevNode& node) const {
  unlink(PathOf(node, "sluiced.pid").c_str());
}

bool DevCluster::HoldStill(const DevNode& node, bool still) const {
  const auto pid = PidOf(node);
  return pid.has_value() && ::kill(*pid, still ? SIGSTOP : SIGCONT) == 0;
}

bool DevCluster::Stop(const std::vector<DevNode>& nodes, bool kill) const {
  std::vector<std::pair<const DevNode*, pid_t>> stopping;
  for (const DevNode& node : nodes) {
    const auto pid = PidOf(node);
    if (!pid.has_value()) continue;
    // An unwritten note costs a false report of a crash, no more.
    WriteFile(PathOf(node, "sluiced.pid"), std::to_string(*pid) + "\n" + kAsked)
        .IgnoreError();
    ::kill(*pid, kill ? SIGKILL : SIGTERM);
    ::kill(*pid, SIGCONT);  // one that is held still would not hear SIGTERM
    stopping.emplace_back(&node, *pid);
  }
  bool clean = true;
  for (const auto& [node, pid] : stopping) {
    if (!WaitGone(pid, kStopUs)) {
      clean = false;
      ::kill(pid, SIGKILL);
      WaitGone(pid, kStopUs);
    }
    unlink(PathOf(*node, "sluiced.pid").c_str());
  }
  return clean;
}

void DevCluster::StopAll() const {
  std::vector<DevNode> brokers;
  std::vector<DevNode> controllers;
  for (const DevNode& node : nodes_) {
    (node.is_controller ? controllers : brokers).push_back(node);
  }
  Stop(brokers, false);
  Stop(controllers, false);
}

std::string DevCluster::EndOfLog(const DevNode& node) const {
  const std::string path = PathOf(node, "sluiced.log");
  return "The end of " + path + ":\n" + LastLines(path, kLogLinesShown);
}

void DevCluster::RotateLogs() const {
  for (const DevNode& node : nodes_) {
    const std::string path = PathOf(node, "sluiced.log");
    struct stat facts;
    if (stat(path.c_str(), &facts) != 0 || facts.st_size < kLogBytesMax) {
      continue;
    }
    std::error_code error;
    std::filesystem::copy_file(
        path, path + ".1", std::filesystem::copy_options::overwrite_existing,
        error);
    if (!error) std::filesystem::resize_file(path, 0, error);
  }
}

absl::StatusOr<std::string> FindSluiced(const std::string& option) {
  const char* from_env = std::getenv("SLUICED");
  const std::string own = OwnDirectory();
  std::vector<std::string> places;
  if (!option.empty()) {
    places = {option};
  } else if (from_env != nullptr && *from_env != '\0') {
    places = {from_env};
  } else {
    places = {own + "/sluiced", own + "/../broker/sluiced",
              "bazel-bin/broker/sluiced"};
  }
  std::string tried;
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) == 0) {
      std::error_code error;
      const auto whole = std::filesystem::canonical(place, error);
      return error ? place : whole.string();
    }
    tried += (tried.empty() ? "" : ", ") + place;
  }
  return MakeError(ErrorCode::kInvalidRequest, "no sluiced at ", tried,
                   "; `bazel build //broker:sluiced` makes it, --sluiced or "
                   "$SLUICED names it");
}

std::string DefaultDevDirectory() {
  const char* tmp = std::getenv("TMPDIR");
  return std::string(tmp != nullptr && *tmp != '\0' ? tmp : "/tmp") +
         "/sluice-dev-" + std::to_string(getuid());
}

absl::StatusOr<DevCluster> LoadDevCluster(const std::string& option) {
  const std::string directory = option.empty() ? DefaultDevDirectory() : option;
  std::error_code error;
  const auto whole = std::filesystem::canonical(directory, error);
  return DevCluster::Load(error ? directory : whole.string());
}

}  // namespace sluice::cli
