// An empty view is filled from a checkpoint, if one is of its log, and goes on
// from there by the log. The mark comes with the last keys: what was filled by
// half when the process died has none, and is emptied at the next start.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/offsets_view.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice::coordinator {

// True: it is being filled, or will be once enough is committed here. That
// takes no longer than to serve does: a new leader serves when its high
// watermark has reached its epoch's start, which is past the mark.
bool OffsetsView::FillsFirst(ObservedReplica& replica) {
  if (fill_.has_value()) {
    AskPiece(replica);
    return fill_.has_value();
  }
  if (!empty_) return false;
  const auto list = deps_.store->checkpoints().Now();
  for (const ViewCheckpoints::Checkpoint& checkpoint : *list) {
    const offsets::Applied* const mark = checkpoint.manifest.Find(deps_.tp);
    if (mark == nullptr ||
        !offsets::CheckpointIsOfLog(*mark, replica.epochs(),
                                    replica.log_start(), replica.leo())) {
      continue;
    }
    fill_ = {.id = ++fills_,
             .checkpoint = checkpoint.number,
             .mark = *mark,
             .next = prefix_};
    AskPiece(replica);
    return true;
  }
  return false;
}

void OffsetsView::AskPiece(ObservedReplica& replica) {
  const Offset limit = std::min(replica.high_watermark(),
                                replica.durable_leo());
  if (fill_->asked || !offsets::MayFill(fill_->mark, limit)) return;
  fill_->asked = true;
  deps_.store->checkpoints().Read(
      fill_->checkpoint, fill_->next, EndOfPrefix(prefix_), deps_.executor,
      [this, alive = alive_, &replica, id = fill_->id](
          absl::StatusOr<ViewCheckpoints::Piece> piece) {
        if (!*alive || closed_) return;
        OnPiece(replica, id, std::move(piece));
      });
}

void OffsetsView::OnPiece(ObservedReplica& replica, uint64_t fill,
                          absl::StatusOr<ViewCheckpoints::Piece> piece) {
  // Cut, emptied or put elsewhere meanwhile.
  if (!fill_.has_value() || fill_->id != fill || damaged_) return;
  fill_->asked = false;
  const auto opened = deps_.store->Now();
  if (opened.kv == nullptr || opened.number != number_) return;
  if (!piece.ok()) {
    // The next one is chosen anew: this one is in the list no more.
    Empty(StrCat("its checkpoint ", fill_->checkpoint, " fails: ",
                 piece.status().message()));
  } else if (const absl::Status taken = TakePiece(*piece); !taken.ok()) {
    return OnDamage(number_, taken);
  }
  deps_.on_moved();
  Follow(replica);
}

absl::Status OffsetsView::TakePiece(const ViewCheckpoints::Piece& piece) {
  const std::string mark_key = KeyOf(offsets::AppliedKey());
  KvBatch out;
  for (const auto& [key, value] : piece.keys) {
    if (key == mark_key && !MUTANT(kFilledMarkFirst)) continue;
    out.Put(key, value);
    filled_bytes_ += static_cast<int64_t>(key.size() + value.size());
  }
  if (piece.last) out.Put(mark_key, offsets::EncodeApplied(fill_->mark));
  const auto opened = deps_.store->Now();
  RETURN_IF_ERROR(opened.kv->Write(out, KvStore::Sync::kNo));
  if (!piece.last) {
    fill_->next = piece.keys.back().first + '\0';
    return absl::OkStatus();
  }
  applied_ = fill_->mark;
  filled_to_ = fill_->mark.next;
  empty_ = false;
  fill_.reset();
  return absl::OkStatus();
}

}  // namespace sluice::coordinator
