#include "test/sim/record_ledger.h"

#include <charconv>

#include "common/base/str_cat.h"

namespace sluice::sim {

std::string RecordName::ToString() const {
  return StrCat(producer, ":", number);
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

void RecordLedger::OnAcked(const NamedPartition& tp, const RecordName& name,
                           Offset offset) {
  Partition& partition = partitions_[tp];
  ++acked_;
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

void RecordLedger::CheckEnd(const NamedPartition& tp, Offset end) {
  const Partition& partition = partitions_[tp];
  Offset next{0};
  for (const auto& [offset, name] : partition.read) {
    if (offset != next) {
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
    report_(StrCat("LOST: ", tp.ToString(), " ends at ", end.value(), ", ",
                   name, " was acknowledged at ", offset.value()));
    break;
  }
  CheckOrder(tp, partition);
  CheckOnce(tp, partition);
}

int64_t RecordLedger::acked_of(const NamedPartition& tp) const {
  const auto found = partitions_.find(tp);
  return found == partitions_.end()
             ? 0
             : static_cast<int64_t>(found->second.acked.size());
}

}  // namespace sluice::sim
