#include "broker/coordinator/offsets_view.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/group_log.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "storage/batch_header.h"

namespace sluice::coordinator {
namespace {

using offsets::Applied;

Offset LimitOf(const ObservedReplica& replica) {
  if (MUTANT(kViewPastDurable)) return replica.leo();
  return std::min(replica.high_watermark(), replica.durable_leo());
}

}  // namespace

OffsetsView::OffsetsView(Deps deps)
    : deps_(std::move(deps)), prefix_(ViewPrefixOf(deps_.tp)) {}

OffsetsView::~OffsetsView() { *alive_ = false; }

// ---- What the store has ----

void OffsetsView::Bind(const EpochHistory& epochs, Offset leo) {
  BindTo(deps_.store->Now(), epochs, leo);
}

void OffsetsView::BindTo(const ViewStore::Opened& opened,
                         const EpochHistory& epochs, Offset leo) {
  number_ = opened.number;
  damaged_ = false;
  applied_ = {};
  fill_.reset();
  if (opened.kv == nullptr) return;
  const auto stored = opened.kv->Get(KeyOf(offsets::AppliedKey()));
  if (!stored.ok()) return OnDamage(number_, stored.status());
  if (stored->has_value()) {
    const auto applied = offsets::DecodeApplied(**stored);
    if (!applied.has_value()) {
      return Empty("where it was cannot be read");
    }
    applied_ = *applied;
    if (!offsets::IsOfLog(applied_, epochs, leo) && !MUTANT(kStaleViewKept)) {
      return Empty(StrCat("it is not of this log, which ends at ", leo));
    }
    return;
  }
  // A store that is new, or a mark that got lost: then what else is there is
  // of no use.
  Empty("");
}

// Not synced: what comes back after a crash is judged anew.
void OffsetsView::Empty(const std::string& why) {
  const auto opened = deps_.store->Now();
  LOG_IF(WARNING, !why.empty())
      << "the view of " << deps_.name << ", applied up to " << applied_.next
      << " in epoch " << applied_.epoch << ", is dropped: " << why
      << "; it is filled again from a checkpoint or the log";
  applied_ = {};
  reading_ = 0;
  empty_ = true;
  fill_.reset();
  replay_since_us_ = deps_.clock->MonoMicros();
  replayed_bytes_ = 0;
  filled_bytes_ = 0;
  if (opened.kv == nullptr || opened.number != number_) return;
  KvBatch batch;
  batch.DeleteRange(prefix_, EndOfPrefix(prefix_));
  const absl::Status erased = opened.kv->Write(batch, KvStore::Sync::kNo);
  if (!erased.ok()) OnDamage(number_, erased);
}

void OffsetsView::Erase(ViewStore& store, const TopicPartition& tp) {
  const auto opened = store.Now();
  if (opened.kv == nullptr) return;
  const std::string prefix = ViewPrefixOf(tp);
  KvBatch batch;
  batch.DeleteRange(prefix, EndOfPrefix(prefix));
  const absl::Status erased = opened.kv->Write(batch, KvStore::Sync::kNo);
  if (!erased.ok()) store.ReportDamage(opened.number, erased);
}

bool OffsetsView::usable() const {
  if (closed_ || damaged_ || fill_.has_value() || !stopped_.empty()) {
    return false;
  }
  const auto opened = deps_.store->Now();
  return opened.kv != nullptr && opened.number == number_;
}

void OffsetsView::OnCut(Offset target) {
  // What is being read may be of what is cut.
  reading_ = 0;
  if (fill_.has_value() && fill_->mark.next > target &&
      !MUTANT(kFillOutlivesCut)) {
    return Empty(StrCat("its log is cut to ", target,
                        ", below what it is filled with"));
  }
  if (offsets::OutlivesCut(applied_, target)) return;
  Empty(StrCat("its log is cut to ", target));
  deps_.on_moved();
}

void OffsetsView::OnDamage(uint64_t number, const absl::Status& why) {
  damaged_ = true;
  deps_.store->ReportDamage(number, why);
}

// The log is whole and says what this version cannot read.
void OffsetsView::Stop(const absl::Status& why) {
  stopped_ = std::string(why.message());
  LOG(ERROR) << "the view of " << deps_.name << " stops at " << applied_.next
             << ": " << stopped_
             << ". Its groups are not served here; run the version that wrote "
                "this.";
}

// ---- Following the log ----

void OffsetsView::Follow(ObservedReplica& replica) {
  if (closed_ || !stopped_.empty() || reading_on_) return;
  const auto opened = deps_.store->Now();
  if (opened.number != number_) {
    BindTo(opened, replica.epochs(), replica.leo());
    if (!replay_since_us_.has_value()) {
      replay_since_us_ = deps_.clock->MonoMicros();
    }
    deps_.on_moved();
  }
  if (opened.kv == nullptr || damaged_ || reading_ != 0) return;
  BeginTurn(replica);
}

void OffsetsView::BeginTurn(ObservedReplica& replica) {
  if (FillsFirst(replica)) return;
  pieces_ = 0;
  turn_bytes_ = 0;
  ReadOn(replica);
}

void OffsetsView::ReadOn(ObservedReplica& replica) {
  reading_on_ = true;
  while (!closed_ && !damaged_ && stopped_.empty() && reading_ == 0 &&
         ReadPiece(replica)) {
  }
  reading_on_ = false;
}

// False: nothing more for now.
bool OffsetsView::ReadPiece(ObservedReplica& replica) {
  // A log whose start was moved keeps nothing below it.
  const Offset before = applied_.next;
  const Offset from = std::max(before, replica.log_start());
  const Offset limit = LimitOf(replica);
  if (from >= limit) {
    NoteReplayed(limit);
    return false;
  }
  reading_ = ++readings_;
  if (++pieces_ > kPiecesPerTurn || turn_bytes_ >= kBytesPerTurn) {
    // The shard's other work comes in between.
    deps_.executor->Post([this, alive = alive_, &replica, reading = reading_] {
      if (!*alive || closed_ || reading_ != reading) return;
      reading_ = 0;
      BeginTurn(replica);
    });
    return false;
  }
  replica.ReadLog(from, limit, kPieceBytes,
                  [this, alive = alive_, &replica, reading = reading_](
                      absl::StatusOr<ReadResult> result) {
                    if (!*alive || closed_) return;
                    OnRead(replica, reading, std::move(result));
                  });
  return applied_.next > before;
}

void OffsetsView::OnRead(ObservedReplica& replica, uint64_t reading,
                         absl::StatusOr<ReadResult> result) {
  if (reading_ != reading) return;  // cut, or emptied meanwhile
  reading_ = 0;
  // A read that fails is tried again with the next progress; bad bytes fail
  // the replica by themselves.
  if (!result.ok()) return;
  const Offset limit = LimitOf(replica);
  const Offset before = applied_.next;
  const absl::Status applied = Apply(result->batches.view(), limit);
  if (!applied.ok()) return Stop(applied);
  turn_bytes_ += static_cast<int64_t>(result->batches.size());
  replayed_bytes_ += static_cast<int64_t>(result->batches.size());
  deps_.on_moved();
  // A read that answered later begins a turn of its own. One that gave nothing
  // does not, as when the store was taken away meanwhile: the next progress
  // looks again.
  if (!reading_on_ && applied_.next > before) BeginTurn(replica);
}

// All batches of a piece and the last one's mark in one write.
absl::Status OffsetsView::Apply(std::string_view batches, Offset limit) {
  const auto opened = deps_.store->Now();
  if (opened.kv == nullptr || opened.number != number_) {
    return absl::OkStatus();
  }
  Applied applied = applied_;
  KvBatch out;
  int64_t records = 0;
  std::string key = prefix_;
  BatchCursor cursor(batches);
  for (;;) {
    ASSIGN_OR_RETURN(const std::optional<BatchView> batch, cursor.Next());
    if (!batch.has_value()) break;
    // A read gives whole batches: the first may begin below what was asked.
    if (batch->header().next_offset() <= applied.next) continue;
    ASSIGN_OR_RETURN(const offsets::ViewBatch changes, DecodeBatch(*batch));
    ASSIGN_OR_RETURN(const auto writes,
                     offsets::ApplyBatch(applied, limit, changes));
    for (const offsets::ViewWrite& write : writes) {
      key.resize(prefix_.size());
      key += write.key;
      if (write.value.has_value()) {
        out.Put(key, *write.value);
      } else {
        out.Delete(key);
      }
    }
    records += static_cast<int64_t>(changes.records.size());
    applied = {changes.next, changes.epoch};
  }
  if (out.empty()) return absl::OkStatus();
  const absl::Status written = opened.kv->Write(out, KvStore::Sync::kNo);
  if (!written.ok()) {
    OnDamage(number_, written);
    return absl::OkStatus();
  }
  applied_ = applied;
  empty_ = false;
  NoteApplied(static_cast<int64_t>(batches.size()), records);
  return absl::OkStatus();
}

void OffsetsView::NoteApplied(int64_t bytes, int64_t records) {
  noted_bytes_ += bytes;
  noted_records_ += records;
  if (noted_bytes_ < deps_.store->note_bytes()) return;
  deps_.store->NoteApplied(std::exchange(noted_bytes_, 0),
                           std::exchange(noted_records_, 0));
}

void OffsetsView::NoteReplayed(Offset limit) {
  if (!replay_since_us_.has_value()) return;
  const int64_t took_ms =
      (deps_.clock->MonoMicros() - *replay_since_us_) / 1000;
  replay_since_us_.reset();
  if (filled_bytes_ == 0) {
    LOG_IF(INFO, replayed_bytes_ > 0)
        << "the view of " << deps_.name << " was replayed up to " << limit
        << " from its log's start: " << replayed_bytes_ << " bytes in "
        << took_ms << " ms";
    return;
  }
  LOG(INFO) << "the view of " << deps_.name
            << " was filled from a checkpoint up to " << filled_to_ << ", "
            << filled_bytes_ << " bytes, and replayed up to " << limit << ", "
            << replayed_bytes_ << " bytes of log, in " << took_ms << " ms";
}

// ---- Reading ----

absl::StatusOr<std::optional<std::string>> OffsetsView::Get(
    std::string_view key) {
  const auto opened = deps_.store->Now();
  if (!usable() || opened.kv == nullptr) {
    return MakeError(ErrorCode::kStorageError, "the view of ", deps_.name,
                     " is being replaced; try again");
  }
  auto value = opened.kv->Get(KeyOf(key));
  if (!value.ok()) OnDamage(opened.number, value.status());
  return value;
}

absl::Status OffsetsView::Scan(std::string_view from, std::string_view end,
                               const KvStore::Visitor& visit) {
  const auto opened = deps_.store->Now();
  if (!usable() || opened.kv == nullptr) {
    return MakeError(ErrorCode::kStorageError, "the view of ", deps_.name,
                     " is being replaced; try again");
  }
  const absl::Status status = opened.kv->Scan(
      KeyOf(from), end.empty() ? EndOfPrefix(prefix_) : KeyOf(end),
      [&](std::string_view key, std::string_view value) {
        return visit(key.substr(prefix_.size()), value);
      });
  if (!status.ok()) OnDamage(opened.number, status);
  return status;
}

absl::StatusOr<std::optional<offsets::CommittedOffset>> OffsetsView::FindOffset(
    const offsets::OffsetKey& key) {
  ASSIGN_OR_RETURN(const auto value, Get(offsets::EncodeOffsetKey(key)));
  if (!value.has_value()) return std::optional<offsets::CommittedOffset>();
  auto committed = offsets::DecodeCommittedOffset(*value);
  if (committed.has_value()) return committed;
  const absl::Status why =
      MakeError(ErrorCode::kStorageError, "an offset of group ", key.group,
                " in the view of ", deps_.name, " cannot be read");
  OnDamage(number_, why);
  return why;
}

absl::StatusOr<std::optional<std::string>> OffsetsView::FindGroup(
    std::string_view group) {
  return Get(offsets::EncodeGroupKey(group));
}

absl::Status OffsetsView::ScanOffsets(std::string_view group,
                                      OffsetVisitor visit) {
  absl::Status damage;
  const auto [from, end] = offsets::OffsetKeyRange(group);
  RETURN_IF_ERROR(
      Scan(from, end, [&](std::string_view key, std::string_view value) {
        const auto decoded = offsets::DecodeOffsetKey(key);
        const auto committed = offsets::DecodeCommittedOffset(value);
        if (decoded.has_value() && committed.has_value()) {
          return visit(*decoded, *committed);
        }
        damage = MakeError(ErrorCode::kStorageError, "an offset of group ",
                           std::string(group), " in the view of ", deps_.name,
                           " cannot be read");
        return false;
      }));
  if (!damage.ok()) OnDamage(number_, damage);
  return damage;
}

absl::Status OffsetsView::ScanGroups(std::string_view after,
                                     GroupVisitor visit) {
  // The first key of another kind.
  const char tag = offsets::EncodeGroupKey("")[0];
  const std::string end(1, static_cast<char>(tag + 1));
  return Scan(offsets::EncodeGroupKey(std::string(after) + '\0'), end,
              [&](std::string_view key, std::string_view value) {
                return visit(*offsets::DecodeGroupKey(key), value);
              });
}

}  // namespace sluice::coordinator
