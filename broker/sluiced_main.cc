// sluiced: a node of a cluster, as controller, broker or both.
#include <glog/logging.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "broker/node_config.h"
#include "broker/process/end_process.h"
#include "broker/process/node.h"
#include "broker/process/node_flags.h"
#include "broker/process/protobuf_log.h"
#include "broker/process/stop_signals.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/env/real_clock.h"
#include "common/env/thread_priority.h"
#include "common/env/thread_slice.h"
#include "controller/metadata/config_registry.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

static_assert(!kMutantsBuilt, "seeded bugs are the simulator's alone");

void StartLogging(const char* program) {
  static const RealClock clock;
  FLAGS_logtostderr = true;
  FLAGS_logbuflevel = -1;  // a killed process has said what it had to say
  google::InitGoogleLogging(program);
  TellOfProtobuf(&clock);
}

// Before there are other threads: they inherit it, gRPC's too.
absl::Status AskForSlices(int64_t slice_us) {
  if (slice_us == 0) return absl::OkStatus();
  const absl::Status asked = RequestThreadSlice(slice_us);
  if (CodeOf(asked) != ErrorCode::kUnsupportedVersion) return asked;
  LOG(WARNING) << "--thread_slice_us=" << slice_us << ": " << asked.message();
  return absl::OkStatus();
}

// Likewise. RocksDB's threads are there before: they flush and compact, which
// takes long, and nobody waits for it.
absl::Status AskForPriority(int32_t priority) {
  if (priority == 0) return absl::OkStatus();
  RocksKvStore::StartBackgroundThreads();
  const absl::Status asked = RequestRealtimePriority(priority);
  if (!asked.ok()) {
    return MakeError(CodeOf(asked), "--realtime_priority=", priority, ": ",
                     StdView(asked.message()));
  }
  LOG(INFO) << "threads run at real-time priority " << priority
            << " (SCHED_FIFO), those for bulk work excepted";
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Node>> StartNode(const NodeFlags& flags) {
  const auto cores = static_cast<int32_t>(std::thread::hardware_concurrency());
  ASSIGN_OR_RETURN(NodeConfig config, ParseNodeFlags(flags, cores));
  RETURN_IF_ERROR(AskForSlices(flags.thread_slice_us));
  RETURN_IF_ERROR(AskForPriority(config.realtime_priority));
  ASSIGN_OR_RETURN(auto registry, ConfigRegistry::Make(config.settings));
  return Node::Start(std::move(config), std::move(registry));
}

int Run(int argc, char** argv) {
  // Debian builds Abseil with its search for deadlocks switched on: each lock
  // of gRPC's then passes one lock of the process. Ours TSan looks at.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  NodeFlags flags;
  if (const std::optional<int> done = ParseCommandLine(&argc, &argv, &flags)) {
    return *done;
  }
  StartLogging(argv[0]);
  const StopSignals signals;
  auto node = StartNode(flags);
  if (!node.ok()) {
    LOG(ERROR) << "not started: " << NameOf(CodeOf(node.status())) << ": "
               << node.status().message();
    return kExitRefused;
  }
  const int signal = signals.Wait();
  signals.EndAtTheNext();
  LOG(INFO) << "signal " << signal << ": stopping";
  (*node)->Stop();
  signals.ClosedCleanly();
  LOG(INFO) << "stopped";
  return kExitClean;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) { return sluice::Run(argc, argv); }
