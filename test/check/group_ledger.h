// What the committed log of __consumer_offsets says, record by record: the
// checks' own fold, beside which every replica's view and every answer is held.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/coordinator/group_log.h"
#include "broker/offsets/offset_view.h"
#include "common/base/ids.h"

namespace sluice::check {

// What somebody was told: the value that this record gave. A coordinator of an
// epoch knows all that was committed in its own and in older ones.
struct ToldAt {
  uint64_t moment = 0;  // when it was told; rises
  Offset record;
  LeaderEpoch epoch = kNoLeaderEpoch;
};

// The values that one key had, in the order of the log.
template <class T>
class GroupRegister {
 public:
  struct Entry {
    Offset record;
    // Of the leader that committed it, which may be a later one than wrote it.
    LeaderEpoch epoch = kNoLeaderEpoch;
    uint64_t moment = 0;     // when it was folded
    std::optional<T> value;  // nullopt: removed
  };

  void Put(Entry entry) { entries_.push_back(std::move(entry)); }
  const std::vector<Entry>& entries() const { return entries_; }
  const Entry* newest() const {
    return entries_.empty() ? nullptr : &entries_.back();
  }

  void NoteTold(uint64_t moment, const Entry& entry) {
    if (!told_.empty() && told_.back().record >= entry.record) return;
    told_.push_back({moment, entry.record, entry.epoch});
  }
  // Where reading may begin that a coordinator of `epoch` was asked for at
  // `moment`: nothing older may be answered. 0: anywhere.
  size_t FloorOf(uint64_t moment, LeaderEpoch epoch) const {
    for (auto told = told_.rbegin(); told != told_.rend(); ++told) {
      if (told->moment > moment || told->epoch > epoch) continue;
      for (size_t i = entries_.size(); i-- > 0;) {
        if (entries_[i].record == told->record) return i;
      }
    }
    return 0;
  }
  bool WasTold(uint64_t moment, LeaderEpoch epoch) const {
    for (const ToldAt& told : told_) {
      if (told.moment <= moment && told.epoch <= epoch) return true;
    }
    return false;
  }

 private:
  std::vector<Entry> entries_;
  std::vector<ToldAt> told_;  // rising
};

// A group's record, as it lies in a view, and what it says.
struct GroupWords {
  std::string record;
  coordinator::StoredGroup stored;
};

using OffsetRegister = GroupRegister<offsets::CommittedOffset>;
using WordsRegister = GroupRegister<GroupWords>;

// Of one partition of the topic.
class GroupLedger {
 public:
  // Behind all that came before; committed by the leader of `by`, at `moment`.
  void Add(const offsets::ViewBatch& batch, LeaderEpoch by, uint64_t moment);
  Offset end() const { return end_; }

  const std::map<offsets::OffsetKey, OffsetRegister>& offsets() const {
    return offsets_;
  }
  const std::map<std::string, WordsRegister>& groups() const {
    return groups_;
  }
  // Null: the log never said anything of it.
  OffsetRegister* FindOffsets(const offsets::OffsetKey& key);
  WordsRegister* FindGroup(const std::string& group);

  // All that a view holds which has applied what lies below `next`; nullopt:
  // no batch ends there.
  using Contents = std::map<std::string, std::string>;
  std::optional<Contents> ContentsAt(Offset next) const;

 private:
  std::map<offsets::OffsetKey, OffsetRegister> offsets_;
  std::map<std::string, WordsRegister> groups_;
  std::map<Offset, LeaderEpoch> ends_;  // of batches
  Offset end_{0};
};

}  // namespace sluice::check
