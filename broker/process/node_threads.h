// The threads of one process, by what they own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/node_config.h"
#include "common/env/thread_executor.h"

namespace sluice {

// All run from the constructor on. Their owners stop using each other first;
// then StopAll() ends every thread, and what they owned can be destroyed while
// the executors still stand.
class NodeThreads {
 public:
  explicit NodeThreads(const NodeConfig& config);

  // Null unless the process has that role.
  Executor* controller() { return controller_.get(); }
  Executor* raft_writer() { return raft_writer_.get(); }

  Executor* control() { return control_.get(); }
  Executor* replication() { return replication_.get(); }
  Executor* io() { return io_.get(); }
  Executor* worker() { return worker_.get(); }
  std::vector<Executor*> shards() const { return Pointers(shards_); }
  // One a data directory.
  std::vector<Executor*> syncs() const { return Pointers(syncs_); }

  // For health: every executor with its name.
  struct Named {
    std::string name;
    Executor* executor;
  };
  const std::vector<Named>& all() const { return all_; }

  void StopAll();

 private:
  using Thread = std::unique_ptr<ThreadExecutor>;

  Thread Make(const std::string& name);
  static std::vector<Executor*> Pointers(const std::vector<Thread>& threads);

  std::vector<Named> all_;
  std::vector<ThreadExecutor*> running_;
  Thread controller_;
  Thread raft_writer_;
  Thread control_;
  Thread replication_;
  Thread io_;
  Thread worker_;
  std::vector<Thread> shards_;
  std::vector<Thread> syncs_;
};

}  // namespace sluice
