#include "broker/replica/replica_checker.h"

#include <algorithm>

namespace sluice::replica {

bool ReplicaChecker::Check(bool holds, std::string_view number, NodeId node,
                           const std::string& facts) {
  ++checks_;
  if (!holds && !violation_.has_value()) {
    violation_ = StrCat(number, " broken by ", node, ": ", facts);
  }
  return holds;
}

void ReplicaChecker::Committed(NodeId leader, LeaderEpoch epoch,
                               const ModelLog& log, Offset upto) {
  // A zombie of before an ordered unclean election goes on with what was
  // given up.
  if (epoch < unclean_epoch_) return;
  Holds("RP8", leader, log, Offset(0), std::min(upto, committed()),
        "a leader's HW");
  while (committed() < upto) {
    const Offset next = committed();
    if (!Check(next >= log.base(), "RP8", leader,
               StrCat("commits ", next, " without having it"))) {
      return;
    }
    ledger_.push_back({log.At(next), epoch});
  }
}

void ReplicaChecker::Holds(std::string_view number, NodeId node,
                           const ModelLog& log, Offset from, Offset upto,
                           std::string_view what) {
  if (!Check(log.leo() >= upto, number, node,
             StrCat(what, ": its log ends at ", log.leo(), ", committed is ",
                    upto))) {
    return;
  }
  for (Offset o = std::max({from, log.base(), log.log_start()}); o < upto;
       o = o.Next()) {
    const ModelRecord& is = log.At(o);
    const ModelRecord& was = ledger_.at(static_cast<size_t>(o.value())).record;
    if (!Check(is == was, number, node,
               StrCat(what, ": offset ", o, " holds ", is.id, " of epoch ",
                      is.epoch, ", committed was ", was.id, " of epoch ",
                      was.epoch))) {
      return;
    }
  }
}

void ReplicaChecker::Appended(NodeId node, const ModelLog& log, Offset from) {
  for (Offset o = from; o < log.leo(); o = o.Next()) {
    const ModelRecord& record = log.At(o);
    // What lies below the log start need not be what it was.
    if (o == std::max(log.base(), log.log_start()) && o > Offset(0)) continue;
    const LeaderEpoch before =
        o > log.base() ? log.At(o - 1).epoch : kNoLeaderEpoch;
    const auto [it, fresh] = links_.try_emplace({o, record.epoch},
                                                record.id, before);
    Check(it->second == std::pair(record.id, before), "RP9", node,
          StrCat("offset ", o, " of epoch ", record.epoch, " holds ",
                 record.id, " after epoch ", before, ", elsewhere ",
                 it->second.first, " after ", it->second.second));
  }
}

void ReplicaChecker::HighWatermarkIs(NodeId node, LeaderEpoch epoch,
                                     Offset high_watermark) {
  const auto [it, fresh] =
      high_watermarks_.try_emplace(node, epoch, high_watermark);
  auto& [last_epoch, last] = it->second;
  if (epoch == last_epoch) {
    Check(high_watermark >= last, "RP5", node,
          StrCat("HW ", last, " -> ", high_watermark, " in epoch ", epoch));
  }
  last_epoch = epoch;
  last = high_watermark;
}

void ReplicaChecker::BecameLeader(NodeId node, LeaderEpoch epoch,
                                  const ModelLog& log, Offset high_watermark) {
  const auto [it, fresh] = leaders_.try_emplace(epoch, node);
  Check(fresh, "RP16", node,
        StrCat("leads epoch ", epoch, " after ", it->second, " did"));
  if (epoch < unclean_epoch_) return;
  if (giving_up_) GiveUp(epoch, log, high_watermark);
  // A leader that comes late, when the next one has committed already, need
  // not have that.
  Offset upto = committed();
  while (upto > Offset(0) &&
         ledger_[static_cast<size_t>(upto.value() - 1)].by > epoch) {
    upto = upto - 1;
  }
  Holds("RP1", node, log, Offset(0), upto, StrCat("leads epoch ", epoch));
}

void ReplicaChecker::GiveUp(LeaderEpoch epoch, const ModelLog& log,
                            Offset high_watermark) {
  giving_up_ = false;
  // What its log has instead of what was committed counts from now on.
  // A deposed leader may have told it more meanwhile than anybody else knows.
  const Offset end =
      std::min(std::max(committed(), high_watermark), log.leo());
  ledger_.resize(static_cast<size_t>(end.value()), Entry{});
  for (Offset o = std::max(log.base(), Offset(0)); o < end; o = o.Next()) {
    ledger_[static_cast<size_t>(o.value())] = {log.At(o), epoch};
  }
  high_watermarks_.clear();
}

}  // namespace sluice::replica
