#include "test/check/group_ledger.h"

#include <utility>
#include <variant>

namespace sluice::check {
namespace {

// What the register held once everything below `next` was applied; null: it
// holds nothing.
template <class T>
const T* ValueAt(const GroupRegister<T>& of, Offset next) {
  const T* value = nullptr;
  for (const auto& entry : of.entries()) {
    if (entry.record >= next) break;
    value = entry.value.has_value() ? &*entry.value : nullptr;
  }
  return value;
}

}  // namespace

void GroupLedger::Add(const offsets::ViewBatch& batch, LeaderEpoch by,
                      uint64_t moment) {
  for (const offsets::ViewRecord& record : batch.records) {
    const auto entry = [&](auto value) {
      return typename GroupRegister<
          typename decltype(value)::value_type>::Entry{
          record.offset, by, moment, std::move(value)};
    };
    using Committed = std::optional<offsets::CommittedOffset>;
    using Words = std::optional<GroupWords>;
    if (const auto* put = std::get_if<offsets::OffsetPut>(&record.change)) {
      Committed committed = put->committed;
      committed->record_offset = record.offset;
      offsets_[put->key].Put(entry(std::move(committed)));
    } else if (const auto* gone =
                   std::get_if<offsets::OffsetGone>(&record.change)) {
      offsets_[gone->key].Put(entry(Committed()));
    } else if (const auto* group =
                   std::get_if<offsets::GroupPut>(&record.change)) {
      GroupWords words{group->record, {}};
      auto stored = coordinator::DecodeGroup(group->record);
      if (stored.ok()) words.stored = *std::move(stored);
      groups_[group->group].Put(entry(Words(std::move(words))));
    } else {
      const auto& dead = std::get<offsets::GroupGone>(record.change);
      groups_[dead.group].Put(entry(Words()));
    }
  }
  end_ = batch.next;
  ends_[end_] = batch.epoch;
}

OffsetRegister* GroupLedger::FindOffsets(const offsets::OffsetKey& key) {
  const auto found = offsets_.find(key);
  return found == offsets_.end() ? nullptr : &found->second;
}

WordsRegister* GroupLedger::FindGroup(const std::string& group) {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : &found->second;
}

std::optional<GroupLedger::Contents> GroupLedger::ContentsAt(
    Offset next) const {
  Contents contents;
  if (next == Offset(0)) return contents;
  const auto end = ends_.find(next);
  if (end == ends_.end()) return std::nullopt;
  contents[offsets::AppliedKey()] =
      offsets::EncodeApplied({next, end->second});
  for (const auto& [key, values] : offsets_) {
    if (const auto* value = ValueAt(values, next)) {
      contents[offsets::EncodeOffsetKey(key)] =
          offsets::EncodeCommittedOffset(*value);
    }
  }
  for (const auto& [group, values] : groups_) {
    if (const auto* value = ValueAt(values, next)) {
      contents[offsets::EncodeGroupKey(group)] = value->record;
    }
  }
  return contents;
}

}  // namespace sluice::check
