#include "test/sim/record_ledger.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "common/base/str_cat.h"

namespace sluice::sim {

std::string RecordName::ToString() const {
  return StrCat(producer, ":", number);
}

std::string RecordName::Value(int bytes) const {
  const std::string name = StrCat(producer, ":", number, ".");
  char digits[16];
  std::string value;
  value.reserve(static_cast<size_t>(std::max(bytes, 0)) + name.size() +
                sizeof digits);
  // Each record is compared with it by each reader.
  for (int part = 0; part == 0 || static_cast<int>(value.size()) < bytes;
       ++part) {
    value += name;
    value.append(digits, std::to_chars(digits, std::end(digits), part).ptr);
    value += ';';
  }
  return value;
}

RecordName RecordName::FromString(std::string_view text) {
  RecordName name;
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return {-1, -1};
  const char* end = text.data() + text.size();
  std::from_chars(text.data(), text.data() + colon, name.producer);
  std::from_chars(text.data() + colon + 1, end, name.number);
  return name;
}

void RecordLedger::OnSent(const NamedPartition& tp, const RecordName& name) {
  partitions_[tp].sent.insert(name);
  ++sent_;
}

void RecordLedger::Compare(const NamedPartition& tp, Offset offset,
                           const RecordName& one, const RecordName& two) {
  if (one == two) return;
  report_(StrCat("DIVERGENT: ", tp.ToString(), " offset ", offset.value(),
                 " is ", one, " and ", two));
}

bool RecordLedger::may_lose(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found != partitions_.end() &&
         found->second.certain < Offset(INT64_MAX);
}

void RecordLedger::IsKept(const NamedPartition& tp, Offset first) {
  Partition& partition = partitions_[tp];
  partition.certain = first;
  // A new reader says what is there now.
  partition.read.clear();
}

void RecordLedger::MayLose(const NamedPartition& tp, LeaderEpoch last) {
  partitions_[tp].certain = Offset(0);
  partitions_[tp].last = last;
}

void RecordLedger::OnAcked(const NamedPartition& tp, const RecordName& name,
                           Offset offset, LeaderEpoch by) {
  Partition& partition = partitions_[tp];
  ++acked_;
  ++partition.acked_count;
  if (offset >= partition.certain) {
    if (by <= partition.last) return;
    ++acked_anew_;
    const auto [known, fresh] = partition.acked_anew.emplace(offset, name);
    if (!fresh) Compare(tp, offset, known->second, name);
    return;
  }
  const auto [known, fresh] = partition.acked.emplace(offset, name);
  if (!fresh) Compare(tp, offset, known->second, name);
  const auto read = partition.read.find(offset);
  if (read != partition.read.end()) Compare(tp, offset, read->second, name);
}

void RecordLedger::OnRead(const NamedPartition& tp, const RecordName& name,
                          Offset offset) {
  Partition& partition = partitions_[tp];
  if (!partition.sent.contains(name)) {
    report_(StrCat("PHANTOM: ", tp.ToString(), " offset ", offset.value(),
                   " is ", name, ", which nobody sent there"));
  }
  if (offset >= partition.certain) {
    partition.read[offset] = name;
    return;
  }
  const auto [known, fresh] = partition.read.emplace(offset, name);
  if (!fresh) Compare(tp, offset, known->second, name);
  const auto acked = partition.acked.find(offset);
  if (acked != partition.acked.end()) Compare(tp, offset, acked->second, name);
}

// A producer's acknowledged records are stored in the order sent. Others may
// come late: what a producer gave up may still be on the wire, and what the
// network delivers a minute later is stored, unless it is idempotent.
void RecordLedger::CheckOrder(const NamedPartition& tp,
                              const Partition& partition) {
  std::map<int, int64_t> newest;  // by producer
  for (const auto& [offset, name] : partition.acked) {
    if (offset >= partition.certain) break;
    const auto [last, first] = newest.emplace(name.producer, -1);
    if (name.number <= last->second) {
      report_(StrCat("REORDER: ", tp.ToString(), " acknowledged ", name,
                     " at offset ", offset.value(), " behind number ",
                     last->second));
    }
    last->second = name.number;
  }
}

void RecordLedger::CheckOnce(const NamedPartition& tp,
                             const Partition& partition) {
  std::map<int, std::pair<int64_t, Offset>> newest;  // by producer
  for (const auto& [offset, name] : partition.read) {
    if (offset >= partition.certain) break;
    // A replica that was filled from the log start on knows nothing of what was
    // deleted below: sent again, that is stored again, as in Kafka (seed 3486).
    if (offset < partition.trimming) continue;
    if (!idempotent_.contains(name.producer)) continue;
    const auto [last, first] =
        newest.try_emplace(name.producer, name.number, offset);
    if (first) continue;
    if (name.number <= last->second.first) {
      report_(StrCat(name.number == last->second.first ? "DUP: " : "REORDER: ",
                     tp.ToString(), " holds ", name, " at offset ",
                     offset.value(), " behind number ", last->second.first,
                     " at offset ", last->second.second.value()));
    }
    last->second = {name.number, offset};
  }
}

void RecordLedger::OnTrimming(const NamedPartition& tp, Offset before) {
  Offset& trimming = partitions_[tp].trimming;
  trimming = std::max(trimming, before);
}

Offset RecordLedger::deletable_below(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end() ? Offset(0) : found->second.trimming;
}

void RecordLedger::OnTrimmed(const NamedPartition& tp, Offset start) {
  Partition& partition = partitions_[tp];
  partition.trimmed = std::max(partition.trimmed, start);
  if (start > partition.trimming) {
    report_(StrCat("LOST: ", tp.ToString(), " was to be trimmed to ",
                   partition.trimming.value(), " at most, begins at ",
                   start.value()));
  }
}

void RecordLedger::OnEarliest(const NamedPartition& tp,
                              const Earliest& answer) {
  if (answer.start != Offset(0) && !MayBeginAt(tp, answer.start)) {
    report_(StrCat("LOST: ", tp.ToString(), " begins at ", answer.start.value(),
                   ", as the leader of epoch ", answer.epoch,
                   " says: nobody asked for that"));
  }
  std::vector<Earliest>& known = partitions_[tp].earliest;
  for (const Earliest& before : known) {
    if (before.ended_us >= answer.began_us) break;
    if (before.epoch <= answer.epoch && before.start > answer.start) {
      return report_(StrCat(
          "BACK: ", tp.ToString(), " begins at ", answer.start.value(),
          ", as the leader of epoch ", answer.epoch, " says; at ",
          before.start.value(), ", said that of epoch ", before.epoch,
          " before it was asked"));
    }
  }
  known.push_back(answer);
}

void RecordLedger::CheckEnd(const NamedPartition& tp, Offset first,
                            Offset end) {
  const Partition& partition = partitions_[tp];
  if (first < partition.trimmed) {
    report_(StrCat("BACK: ", tp.ToString(), " holds offset ", first.value(),
                   ", all below ", partition.trimmed.value(),
                   " had been deleted"));
  }
  Offset next{0};
  for (const auto& [offset, name] : partition.read) {
    if (offset != next && !MayBeginAt(tp, offset)) {
      report_(StrCat("GAP: ", tp.ToString(), " has nothing at offset ",
                     next.value()));
    }
    next = offset.Next();
  }
  if (next > end) {
    report_(StrCat("LOST: ", tp.ToString(), " ends at ", end.value(),
                   ", offset ", next.value() - 1, " had been read"));
  }
  for (const auto& [offset, name] : partition.acked) {
    if (offset < end) continue;  // read, and compared
    if (offset >= partition.certain) break;
    report_(StrCat("LOST: ", tp.ToString(), " ends at ", end.value(), ", ",
                   name, " was acknowledged at ", offset.value()));
    break;
  }
  CheckOrder(tp, partition);
  CheckOnce(tp, partition);
  CheckAnew(tp, partition, first);
}

void RecordLedger::CheckAnew(const NamedPartition& tp,
                             const Partition& partition, Offset first) {
  for (const auto& [offset, name] : partition.acked_anew) {
    if (offset < first) continue;
    const auto found = partition.read.find(offset);
    if (found != partition.read.end()) {
      Compare(tp, offset, found->second, name);
      continue;
    }
    report_(StrCat("LOST: ", tp.ToString(), " has nothing at offset ",
                   offset.value(), ", ", name,
                   " was acknowledged there after the loss"));
    break;
  }
}

int64_t RecordLedger::acked_of(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end()
             ? 0
             : found->second.acked_count;
}

}  // namespace sluice::sim
