#include "broker/process/node_threads.h"

#include "common/base/str_cat.h"
#include "common/env/thread_priority.h"

namespace sluice {

NodeThreads::NodeThreads(const NodeConfig& config) {
  if (config.is_controller) {
    controller_ = Make("controller");
    raft_writer_ = Make("raft-writer");
  }
  if (!config.is_broker) return;
  control_ = Make("control");
  replication_ = Make("replication");
  io_ = Make("io");
  // Reads of old records, checkpoints, files that are removed: bulk.
  io_->Post([] { LeaveRealtimePriority(); });
  worker_ = Make("worker");
  for (int i = 0; i < config.shards; ++i) {
    shards_.push_back(Make(StrCat("shard-", i)));
  }
  for (size_t i = 0; i < config.data_dirs.size(); ++i) {
    syncs_.push_back(Make(StrCat("sync-", i)));
  }
}

NodeThreads::Thread NodeThreads::Make(const std::string& name) {
  Thread thread = std::make_unique<ThreadExecutor>(name);
  all_.push_back({name, thread.get()});
  running_.push_back(thread.get());
  return thread;
}

std::vector<Executor*> NodeThreads::Pointers(
    const std::vector<Thread>& threads) {
  std::vector<Executor*> pointers;
  for (const Thread& thread : threads) pointers.push_back(thread.get());
  return pointers;
}

void NodeThreads::StopAll() {
  for (ThreadExecutor* thread : running_) thread->Stop();
}

}  // namespace sluice
