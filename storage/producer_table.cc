#include "storage/producer_table.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// How far `sequence` lies ahead of `expected` on the circle of sequences;
// negative: behind.
int64_t AheadBy(int32_t sequence, int32_t expected) {
  constexpr int64_t kCircle = int64_t{1} << 31;
  const int64_t distance = (int64_t{sequence} - expected) & (kCircle - 1);
  return distance < kCircle / 2 ? distance : distance - kCircle;
}

ProducerBatch BatchOf(const BatchHeader& header) {
  return {header.base_sequence, header.last_offset_delta, header.base_offset,
          header.max_timestamp_ms};
}

// The cached batch that `header` repeats, if any.
const ProducerBatch* FindRepeated(const ProducerState& state,
                                  const BatchHeader& header) {
  const size_t oldest = MUTANT(kOneBatchRemembered) ? state.size() - 1 : 0;
  for (size_t i = oldest; i < state.size(); ++i) {
    const ProducerBatch& batch = state.at(i);
    if (batch.base_sequence == header.base_sequence &&
        batch.last_offset_delta == header.last_offset_delta) {
      return &batch;
    }
  }
  return nullptr;
}

std::string NameOf(const BatchHeader& header) {
  return StrCat("producer ", header.producer_id, " epoch ",
                header.producer_epoch, " sequence ", header.base_sequence);
}

absl::Status CheckFirstOfEpoch(const BatchHeader& header, int16_t old_epoch) {
  if (header.base_sequence == 0) return absl::OkStatus();
  return MakeError(ErrorCode::kOutOfOrderSequence, NameOf(header),
                   ": the epoch is new here (the last was ", old_epoch,
                   ") and begins with sequence 0");
}

// OK: the next one. Stored ones were looked for before.
absl::Status CheckNext(const ProducerState& state, const BatchHeader& header) {
  const int32_t last = state.newest().last_sequence();
  const bool wraps = last == std::numeric_limits<int32_t>::max();
  const int32_t expected =
      MUTANT(kSequenceWrapWrong) && wraps ? 1 : SequencePlus(last, 1);
  const int64_t ahead = AheadBy(header.base_sequence, expected);
  if (ahead == 0) return absl::OkStatus();
  // A batch that begins behind and ends ahead holds records that are new; so
  // does one from before all that this epoch has written.
  const bool before_all =
      state.size() < kProducerBatchesKept &&
      AheadBy(header.base_sequence, state.at(0).base_sequence) < 0;
  if (ahead + header.last_offset_delta < 0 && !before_all) {
    return MakeError(ErrorCode::kDuplicateSequence, NameOf(header),
                     ": stored already, but no batch of the last ",
                     state.size(), ", which end with sequence ", last);
  }
  return MakeError(ErrorCode::kOutOfOrderSequence, NameOf(header),
                   ": sequence ", expected,
                   " is next");
}

}  // namespace

// ---- ProducerState ----

void ProducerState::Add(const ProducerBatch& batch) {
  if (size_ == kProducerBatchesKept) {
    std::move(batches_.begin() + 1, batches_.end(), batches_.begin());
    --size_;
  }
  batches_[size_++] = batch;
}

bool ProducerState::operator==(const ProducerState& other) const {
  return epoch == other.epoch &&
         coordinator_epoch == other.coordinator_epoch &&
         transaction_start == other.transaction_start &&
         std::equal(batches_.begin(), batches_.begin() + size_,
                    other.batches_.begin(),
                    other.batches_.begin() + other.size_);
}

// ---- ProducerTable ----

const ProducerState* ProducerTable::Find(ProducerId id) const {
  const auto found = producers_.find(id);
  return found == producers_.end() ? nullptr : &found->second;
}

Offset ProducerTable::last_offset() const {
  return by_last_offset_.empty() ? kNoOffset : by_last_offset_.rbegin()->first;
}

namespace {

// Walks one payload over a copy of what is known of its producer.
class PayloadJudge {
 public:
  explicit PayloadJudge(const ProducerState* known) {
    if (known != nullptr) state_ = *known;
  }

  absl::Status Take(const BatchHeader& header) {
    if (++batches_ > kProducerBatchesKept) {
      return MakeError(ErrorCode::kInvalidRecord, "producer ",
                       header.producer_id, ": more than ",
                       kProducerBatchesKept,
                       " batches in one payload could not be known again; "
                       "send fewer");
    }
    if (state_.has_value() && header.producer_epoch == state_->epoch) {
      if (const ProducerBatch* same = FindRepeated(*state_, header)) {
        return TakeStored(header, *same);
      }
    }
    RETURN_IF_ERROR(CheckNew(header));
    if (stored_.has_value()) return Mixed(header);
    if (!state_.has_value() || state_->epoch != header.producer_epoch) {
      state_.emplace();
      state_->epoch = header.producer_epoch;
    }
    state_->Add(BatchOf(header));
    adds_ = true;
    return absl::OkStatus();
  }

  const std::optional<StoredRun>& stored() const { return stored_; }

 private:
  absl::Status CheckNew(const BatchHeader& header) const {
    if (!state_.has_value()) {
      if (header.base_sequence == 0 || MUTANT(kUnknownProducerAccepted)) {
        return absl::OkStatus();
      }
      return MakeError(ErrorCode::kUnknownProducerId, NameOf(header),
                       ": nothing of this producer is known here, or not any "
                       "more; ask for its next epoch and begin with sequence "
                       "0");
    }
    if (header.producer_epoch < state_->epoch &&
        !MUTANT(kProducerEpochUnchecked)) {
      return MakeError(ErrorCode::kInvalidProducerEpoch, NameOf(header),
                       ": epoch ", state_->epoch,
                       " has written since; this producer was replaced");
    }
    if (header.producer_epoch != state_->epoch) {
      return CheckFirstOfEpoch(header, state_->epoch);
    }
    return CheckNext(*state_, header);
  }

  absl::Status TakeStored(const BatchHeader& header,
                          const ProducerBatch& same) {
    if (adds_) return Mixed(header);
    if (stored_.has_value() && stored_->next != same.base_offset) {
      return MakeError(ErrorCode::kDuplicateSequence, NameOf(header),
                       ": stored already, but not behind the batch before it");
    }
    if (!stored_.has_value()) stored_ = {same.base_offset, {}};
    stored_->next = same.next_offset();
    return absl::OkStatus();
  }

  static absl::Status Mixed(const BatchHeader& header) {
    return MakeError(ErrorCode::kInvalidRecord, NameOf(header),
                     ": the payload has batches that are stored already and "
                     "new ones; send them apart");
  }

  std::optional<ProducerState> state_;
  std::optional<StoredRun> stored_;
  bool adds_ = false;
  size_t batches_ = 0;
};

}  // namespace

absl::StatusOr<std::optional<StoredRun>> ProducerTable::Judge(
    std::string_view payload, Offset idle_below) const {
  BatchCursor cursor(payload);
  ASSIGN_OR_RETURN(auto batch, cursor.Next());
  if (!batch.has_value() || batch->header().producer_id.value() < 0) {
    return std::nullopt;
  }
  const ProducerId id = batch->header().producer_id;
  const ProducerState* known = Find(id);
  PayloadJudge judge(known);
  while (batch.has_value()) {
    INVARIANT(batch->header().producer_id == id,
              "a payload of two producers passed its validation");
    RETURN_IF_ERROR(judge.Take(batch->header()));
    ASSIGN_OR_RETURN(batch, cursor.Next());
  }
  if (known == nullptr && producers_.size() >= producers_max_ &&
      by_last_offset_.begin()->first >= idle_below) {
    return MakeError(ErrorCode::kTooManyProducers, producers_.size(),
                     " producers write to this partition, the limit, and none "
                     "has been silent for long; use fewer producers, or try "
                     "again later");
  }
  return judge.stored();
}

void ProducerTable::Apply(const BatchHeader& batch) {
  // Markers of transactions carry no sequence.
  if (batch.producer_id.value() < 0 || batch.producer_epoch < 0 ||
      batch.base_sequence < 0) {
    return;
  }
  INVARIANT(batch.last_offset() > last_offset(), "IP4: the batch at ",
            batch.base_offset, " was applied after offset ", last_offset());
  const auto [found, is_new] = producers_.try_emplace(batch.producer_id);
  ProducerState& state = found->second;
  if (!is_new) by_last_offset_.erase(state.newest().last_offset());
  if (is_new || state.epoch != batch.producer_epoch) {
    state.Clear();
    state.epoch = batch.producer_epoch;
  }
  state.Add(BatchOf(batch));
  by_last_offset_.emplace(batch.last_offset(), batch.producer_id);
  if (producers_.size() > producers_max_) DropOldest();
}

void ProducerTable::DropOldest() {
  producers_.erase(by_last_offset_.begin()->second);
  by_last_offset_.erase(by_last_offset_.begin());
}

void ProducerTable::ExpireBelow(Offset offset) {
  while (!empty() && by_last_offset_.begin()->first < offset) DropOldest();
}

void ProducerTable::Clear() {
  producers_.clear();
  by_last_offset_.clear();
}

bool ProducerTable::Restore(ProducerId id, const ProducerState& state) {
  if (state.size() == 0 || producers_.contains(id) ||
      state.newest().last_offset() <= last_offset()) {
    return false;
  }
  producers_.emplace(id, state);
  by_last_offset_.emplace(state.newest().last_offset(), id);
  if (producers_.size() > producers_max_) DropOldest();
  return true;
}

}  // namespace sluice
