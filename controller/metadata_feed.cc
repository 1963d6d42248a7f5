#include "controller/metadata_feed.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {

using internal::v1::CommittedBatch;
using internal::v1::FollowMetadataRequest;
using internal::v1::FollowMetadataResponse;

MetadataFeed::MetadataFeed(MetadataLog* log,
                           absl::AnyInvocable<void(absl::Status)> on_fatal)
    : log_(log),
      on_fatal_(std::move(on_fatal)),
      alive_(std::make_shared<bool>(true)) {}

MetadataFeed::~MetadataFeed() = default;

absl::Status MetadataFeed::Check(const FollowMetadataRequest& request) const {
  const ClusterId own = log_->cluster_id();
  if (!request.cluster_id().empty()) {
    if (!own.is_set()) {
      return MakeError(ErrorCode::kNotController,
                       "this controller belongs to no cluster yet");
    }
    if (request.cluster_id() != own.ToBytes()) {
      const auto theirs = ClusterId::FromBytes(request.cluster_id());
      return MakeError(ErrorCode::kInconsistentClusterId, "broker ",
                       request.broker_id(), " belongs to cluster ",
                       theirs.has_value() ? theirs->ToString() : "(bad id)",
                       ", this is cluster ", own,
                       "; check --controllers and --data_dirs");
    }
  }
  if (request.from_offset() < 0) {
    return MakeError(ErrorCode::kInvalidRequest, "metadata from offset ",
                     request.from_offset());
  }
  if (followers_.size() >= kFollowersMax) {
    return MakeError(ErrorCode::kBusy, followers_.size(),
                     " followers of the metadata, the limit; ask another "
                     "controller");
  }
  return absl::OkStatus();
}

MetadataFeed::Events MetadataFeed::Accept(const FollowMetadataRequest& request,
                                          std::shared_ptr<Stream> stream) {
  if (absl::Status status = Check(request); !status.ok()) {
    stream->Close(std::move(status));
    return {};
  }
  const uint64_t id = next_id_++;
  Follower& follower = followers_[id];
  follower.stream = std::move(stream);
  follower.next = LogIndex(std::max<int64_t>(request.from_offset(), 1));
  Events events;
  const std::weak_ptr<bool> alive = alive_;
  events.on_closed = [this, alive, id](absl::Status) {
    if (!alive.expired()) followers_.erase(id);
  };
  events.on_drained = [this, alive, id] {
    if (alive.expired()) return;
    const auto found = followers_.find(id);
    if (found == followers_.end()) return;
    found->second.in_flight = false;
    Pump(found->second);
  };
  Pump(follower);
  return events;
}

void MetadataFeed::OnCommitted(LogIndex offset, Term term,
                               internal::v1::MetadataBatch batch) {
  last_ = offset;
  CommittedBatch& entry = recent_.emplace_back();
  entry.set_offset(offset.value());
  entry.set_term(term.value());
  *entry.mutable_batch() = std::move(batch);
  recent_bytes_ += entry.ByteSizeLong();
  while (recent_bytes_ > kRecentBytesMax && recent_.size() > 1) {
    recent_bytes_ -= recent_.front().ByteSizeLong();
    recent_floor_ = LogIndex(recent_.front().offset());
    recent_.pop_front();
  }
  PumpAll();
}

void MetadataFeed::OnRole(const MetadataLogRole& role) {
  role_ = role;
  for (auto& [id, follower] : followers_) follower.notify = true;
  PumpAll();
}

void MetadataFeed::PumpAll() {
  for (auto& [id, follower] : followers_) Pump(follower);
}

absl::Status MetadataFeed::FillFromLog(LogIndex from,
                                       FollowMetadataResponse& out) {
  ASSIGN_OR_RETURN(const auto entries,
                   log_->ReadCommitted(from, kPieceBytesMax));
  for (const CommittedEntry& entry : entries) {
    CommittedBatch* batch = out.add_batches();
    batch->set_offset(entry.index.value());
    batch->set_term(entry.term.value());
    if (!batch->mutable_batch()->ParseFromString(entry.payload)) {
      return MakeError(ErrorCode::kStorageError, "metadata offset ",
                       entry.index, " was readable once and is no more");
    }
  }
  return absl::OkStatus();
}

void MetadataFeed::Pump(Follower& follower) {
  if (follower.in_flight) return;
  if (follower.next > last_ && !follower.notify) return;
  FollowMetadataResponse piece;
  piece.set_previous_offset(follower.next.value() - 1);
  if (follower.next <= recent_floor_) {
    if (absl::Status status = FillFromLog(follower.next, piece); !status.ok()) {
      on_fatal_(std::move(status));
      return;
    }
  } else if (follower.next <= last_) {
    size_t bytes = 0;
    auto it =
        std::lower_bound(recent_.begin(), recent_.end(), follower.next.value(),
                         [](const CommittedBatch& batch, int64_t offset) {
                           return batch.offset() < offset;
                         });
    for (; it != recent_.end(); ++it) {
      const size_t size = it->ByteSizeLong();
      if (bytes > 0 && bytes + size > kPieceBytesMax) break;
      bytes += size;
      *piece.add_batches() = *it;
    }
  }
  if (piece.batches_size() > 0) {
    follower.next =
        LogIndex(piece.batches(piece.batches_size() - 1).offset() + 1);
  }
  piece.set_committed_offset(last_.value());
  // Entries may be applied before the role that came with them is told: who
  // holds one of a term is in that term.
  int64_t term = role_.durable_term.value();
  if (piece.batches_size() > 0) {
    term = std::max(term, piece.batches(piece.batches_size() - 1).term());
  }
  piece.set_term(term);
  piece.set_active_controller_id(role_.DurableLeader().value());
  follower.notify = false;
  follower.in_flight = true;
  follower.stream->Send(piece);
}

void MetadataFeed::CloseAll(const absl::Status& why) {
  auto followers = std::exchange(followers_, {});
  for (auto& [id, follower] : followers) follower.stream->Close(why);
}

}  // namespace sluice
