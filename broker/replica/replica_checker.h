// What must hold across the replicas of a partition after every event: for
// tests. The asserts of one replica are in invariants.cc.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/replica/model_log.h"
#include "common/base/ids.h"

namespace sluice::replica {

// Feed it what each replica does, in the order in which it happens. The first
// broken invariant is kept in violation(), with its number in correctness.md.
class ReplicaChecker {
 public:
  // The ledger: what any presumed leader told anybody to be committed. A
  // leader of `epoch` moved its HW to `upto`. RP8: nothing in it changes.
  void Committed(NodeId leader, LeaderEpoch epoch, const ModelLog& log,
                 Offset upto);
  // RP1, RP2, RP7: `log` holds what the ledger has in [from, upto).
  void Holds(std::string_view number, NodeId node, const ModelLog& log,
             Offset from, Offset upto, std::string_view what);
  // RP9: one epoch at one offset is one record after one prefix.
  void Appended(NodeId node, const ModelLog& log, Offset from);
  // RP5 within an incarnation's leader epoch.
  void HighWatermarkIs(NodeId node, LeaderEpoch epoch, Offset high_watermark);
  // RP16: no epoch is begun twice. RP1.
  void BecameLeader(NodeId node, LeaderEpoch epoch, const ModelLog& log,
                    Offset high_watermark);
  // An operator ordered it: what the first leader of this epoch or a newer one
  // does not have when it begins is given up.
  void ElectedUnclean(LeaderEpoch epoch) {
    unclean_epoch_ = epoch;
    giving_up_ = true;
  }
  void Restarted(NodeId node) { high_watermarks_.erase(node); }

  bool Check(bool holds, std::string_view number, NodeId node,
             const std::string& facts);
  const std::optional<std::string>& violation() const { return violation_; }
  // trueHW: the end of the ledger.
  Offset committed() const {
    return Offset(static_cast<int64_t>(ledger_.size()));
  }
  // An unclean election was ordered.
  bool gave_up() const { return unclean_epoch_ != kNoLeaderEpoch; }
  // Its leader has not begun yet.
  bool giving_up() const { return giving_up_; }
  uint64_t checks() const { return checks_; }

 private:
  struct Entry {
    ModelRecord record;
    LeaderEpoch by;  // the epoch of the leader that committed it
  };

  void GiveUp(LeaderEpoch epoch, const ModelLog& log, Offset high_watermark);

  std::vector<Entry> ledger_;
  LeaderEpoch unclean_epoch_ = kNoLeaderEpoch;
  bool giving_up_ = false;
  // (offset, epoch) -> the record there and the epoch before it.
  std::map<std::pair<Offset, LeaderEpoch>, std::pair<int64_t, LeaderEpoch>>
      links_;
  std::map<LeaderEpoch, NodeId> leaders_;
  std::map<NodeId, std::pair<LeaderEpoch, Offset>> high_watermarks_;
  std::optional<std::string> violation_;
  uint64_t checks_ = 0;
};

}  // namespace sluice::replica
