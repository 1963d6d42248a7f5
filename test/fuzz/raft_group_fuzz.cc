// A group of RaftCores whose schedule the bytes are (controller/raft).
//
// Property: whatever the order of messages, ticks, completed writes, crashes
// that lose writes, wiped disks, cuts and broken links, InvariantChecker finds
// nothing after any event (RA1-RA10, RA12, RA14); and once all is healed the
// group has a leader that stays, and every node the same entries (RA15).
//
// Input: the group, then one event after the other. A wiped minority at most:
// what a quorum forgot nobody can know.
#include <cstdint>
#include <set>
#include <string>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"
#include "controller/raft/raft_testing.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

using raft::RaftConfig;
using raft::RaftGroup;
using raft::Role;

constexpr int kEventsMax = 400;
constexpr size_t kMessagesMax = 200;
constexpr int kHealTicks = 80;

class Schedule {
 public:
  explicit Schedule(FuzzInput& in)
      : size_(in.Below(2) == 0 ? 3 : 5),
        small_window_(in.Below(2) == 1),
        wipes_left_(in.Below(2) * (size_ - 1) / 2),
        hold_writes_(in.Below(4) != 0),
        group_(size_, in.U8(), [this](RaftConfig& config) { Tune(config); }) {
    for (const int n : group_.ids()) group_.node(n).hold_writes = hold_writes_;
  }

  void Run(FuzzInput& in) {
    for (int i = 0; i < kEventsMax && !in.empty(); ++i) {
      Event(in);
      Check();
    }
    Heal();
  }

 private:
  // Time is coarse so that a short schedule sees several elections.
  void Tune(RaftConfig& config) const {
    config.heartbeat_ticks = 1;
    config.election_timeout_min_ticks = 4;
    config.election_timeout_max_ticks = 8;
    config.broken_link_min_ticks = 1;
    config.broken_link_max_ticks = 2;
    if (!small_window_) return;
    config.append_entries_max = 2;
    config.inflight_appends_max = 2;
    config.uncommitted_entries_max = 4;
  }

  int Node(FuzzInput& in) const { return 1 + in.Below(size_); }

  void Event(FuzzInput& in) {
    switch (in.Below(16)) {
      case 0:
      case 1: return group_.TickAll();
      case 2: return group_.Tick(Node(in));
      case 3:
      case 4: return Deliver(in, /*in_order=*/true);
      case 5:
      case 6: return Deliver(in, /*in_order=*/false);
      case 7: return Lose(in);
      case 8: return Repeat(in);
      case 9: return group_.CompleteWrite(Node(in));
      case 10: return Propose();
      case 11: return Read();
      case 12: return Crash(in);
      case 13: return group_.Restart(Node(in));
      case 14: return Cut(in);
      default: return Rarely(in);
    }
  }

  void Deliver(FuzzInput& in, bool in_order) {
    for (int i = in.Below(8); i >= 0 && !group_.network().empty(); --i) {
      group_.DeliverAt(in_order ? 0 : in.U8() % group_.network().size());
    }
  }

  void Lose(FuzzInput& in) {
    auto& network = group_.network();
    if (network.empty()) return;
    network.erase(network.begin() +
                  static_cast<int64_t>(in.U8() % network.size()));
  }

  void Repeat(FuzzInput& in) {
    auto& network = group_.network();
    if (network.empty() || network.size() >= kMessagesMax) return;
    network.push_back(network[in.U8() % network.size()]);
  }

  // Also at leaders that do not know that they are deposed.
  void Propose() {
    for (const int n : group_.ids()) {
      if (!group_.up(n) || group_.core(n).role() != Role::kLeader) continue;
      (void)group_.Propose(n, StrCat("#", ++payloads_));
    }
  }

  void Read() {
    const int leader = group_.leader();
    if (leader != 0) (void)group_.Read(leader, ++reads_);
  }

  void Crash(FuzzInput& in) {
    const int n = Node(in);
    group_.Crash(n, in.Below(4));
    for (const int other : group_.ids()) {
      if (in.Below(2) == 1) group_.LinkBroken(other, n);
    }
  }

  void Cut(FuzzInput& in) {
    switch (in.Below(4)) {
      case 0: return group_.Heal();
      case 1: return group_.Isolate(Node(in));
      case 2: {
        const int from = Node(in);
        return group_.CutOneWay(from, Node(in));
      }
      default: {
        const int a = Node(in);
        return group_.Cut(a, Node(in));
      }
    }
  }

  void Rarely(FuzzInput& in) {
    const int n = Node(in);
    switch (in.Below(3)) {
      case 0: return group_.LinkBroken(n, Node(in));
      case 1: {
        const int leader = group_.leader();
        if (leader != 0) (void)group_.Transfer(leader);
        return;
      }
      default:
        if (wipes_left_ == 0 || !wiped_.insert(n).second) return;
        --wipes_left_;
        return group_.Wipe(n);
    }
  }

  void Check() {
    const auto& violation = group_.checker().violation();
    INVARIANT(!violation.has_value(), *violation);
    (void)group_.TakeTrace();
  }

  void Heal() {
    group_.Heal();
    for (const int n : group_.ids()) {
      group_.node(n).hold_writes = false;
      group_.Restart(n);
      while (!group_.node(n).writes.empty()) group_.CompleteWrite(n);
    }
    group_.Run(kHealTicks);
    const int leader = group_.leader();
    INVARIANT(leader != 0, "RA15 no leader");
    const Term term = group_.core(leader).term();
    const auto last = group_.Propose(leader, "last");
    INVARIANT(last.ok(), "RA15 ", last.status().ToString());
    group_.Run(kHealTicks);
    INVARIANT(group_.leader() == leader && group_.core(leader).term() == term,
              "RA15 the leader did not stay");
    for (const int n : group_.ids()) {
      const auto& delivered = group_.node(n).delivered;
      INVARIANT(!delivered.empty() && delivered.back().index == last->index,
                "RA15 node ", n, " did not catch up");
    }
    Check();
  }

  const int size_;
  const bool small_window_;
  int wipes_left_;
  const bool hold_writes_;
  RaftGroup group_;
  std::set<int> wiped_;
  int payloads_ = 0;
  uint64_t reads_ = 0;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  sluice::fuzz::Schedule(input).Run(input);
  return 0;
}
