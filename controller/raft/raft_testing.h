// A Raft group in one place for tests: cores, disks that forget what was not
// written yet, a network that does what it is told, and the invariant checker
// fed with all of it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "controller/raft/invariants.h"
#include "controller/raft/raft_core.h"

namespace sluice::raft {

// What survives a crash.
struct TestDisk final : LogReader {
  StableState State() const;
  void Apply(const std::optional<HardState>& state,
             std::optional<LogIndex> truncate_from,
             const std::vector<Entry>& appended);
  absl::StatusOr<std::vector<Entry>> Read(LogIndex from, LogIndex end,
                                          int entries_max,
                                          size_t bytes_max) const override;

  HardState hard_state;
  std::vector<Entry> entries;  // [0] is index 1
  bool read_fails = false;
};

class RaftGroup {
 public:
  struct Write {
    uint64_t id;
    std::optional<HardState> hard_state;
    std::optional<LogIndex> truncate_from;
    std::vector<Entry> entries;
    std::vector<Message> messages;
  };
  struct Node {
    VoterId id;
    TestDisk disk;
    std::unique_ptr<Random> random;
    std::unique_ptr<RaftCore> core;  // null: down
    std::deque<Write> writes;        // not durable
    bool hold_writes = false;        // else they are durable at once
    std::vector<Entry> delivered;    // in this life
    std::vector<ReadState> reads;    // ever
  };

  // Voters 1..voters, each with the bootstrap entry on its disk. `tune`
  // changes a configuration before a core is made.
  RaftGroup(int voters, uint64_t seed,
            std::function<void(RaftConfig&)> tune = nullptr);

  Node& node(int n) { return nodes_.at(NodeId(n)); }
  RaftCore& core(int n) { return *node(n).core; }
  bool up(int n) { return node(n).core != nullptr; }
  std::vector<int> ids() const;
  InvariantChecker& checker() { return checker_; }
  // Of a leader of the highest term; 0: none.
  int leader() const;

  void Tick(int n);
  void TickAll();
  // Ticks until it is no longer a quiet follower.
  void Campaign(int n);
  // Campaigns and delivers until it leads.
  void Elect(int n);
  absl::StatusOr<EntryId> Propose(int n, const std::string& payload);
  absl::Status Read(int n, uint64_t id);
  absl::Status Step(int n, const Message& message);
  void LinkBroken(int at, int peer);
  absl::Status Transfer(int n);

  // The oldest write under way becomes durable, and what waited for it goes.
  void CompleteWrite(int n);
  // A power cut: writes under way are lost but for the first `kept`.
  void Crash(int n, size_t kept = 0);
  void Restart(int n);
  // Down, then back with an empty disk: another directory, the same id. It
  // has learned the bootstrap record.
  void Wipe(int n);

  // Messages under way, oldest first.
  std::deque<Message>& network() { return network_; }
  void DeliverAt(size_t position);
  // Until nothing is under way. Writes of nodes that hold theirs stay.
  void DeliverAll();
  // Messages between them are lost from now on (also those under way).
  void CutOneWay(int from, int to);
  void Cut(int a, int b);
  void Isolate(int n);
  void Heal() { cuts_.clear(); }
  // Time passes for everybody and everything arrives.
  void Run(int ticks);

  // What happened, for scripts: "send APPEND 1->2 ...", "1 leader t2".
  std::vector<std::string> TakeTrace();

 private:
  void Start(Node& node);
  void Pump(Node& node);
  void Emit(Node& node, std::vector<Message> messages);
  void Observe(Node& node, const Ready& ready);

  const uint64_t seed_;
  const std::function<void(RaftConfig&)> tune_;
  std::vector<VoterId> voters_;
  Random random_;
  std::map<NodeId, Node> nodes_;
  std::deque<Message> network_;
  std::set<std::pair<int, int>> cuts_;
  InvariantChecker checker_;
  std::vector<std::string> trace_;
};

}  // namespace sluice::raft
