#include "test/sim/history_recorder.h"

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/batch_header.h"

namespace sluice::sim {
namespace {

check::ValueName NameOf(const RecordName& name) {
  return {name.producer, name.number};
}

void Require(const absl::Status& added) {
  INVARIANT(added.ok(), added.ToString());
}

// Which leader epoch appended what lies at an offset, of ascending offsets.
class Epochs {
 public:
  explicit Epochs(const FetchedBatch& fetched) {
    for (const Buffer& buffer : fetched.batches) {
      BatchCursor cursor(buffer.view());
      for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
           batch = cursor.Next()) {
        begin_.emplace_back((*batch)->header().base_offset,
                            (*batch)->header().leader_epoch);
      }
    }
  }
  int32_t Of(Offset offset) {
    while (at_ + 1 < begin_.size() && begin_[at_ + 1].first <= offset) ++at_;
    return begin_.empty() ? check::kEpochUnknown : begin_[at_].second.value();
  }

 private:
  std::vector<std::pair<Offset, LeaderEpoch>> begin_;
  size_t at_ = 0;
};

// Whether such an answer says that the record is not stored.
bool IsDefinite(const absl::Status& error) {
  switch (CodeOf(error)) {
    case ErrorCode::kDeliveryTimedOut:
    case ErrorCode::kOutcomeUnknown:
      return false;
    default:
      return true;
  }
}

}  // namespace

HistoryRecorder::HistoryRecorder(const Clock* clock,
                                 const std::vector<NamedPartition>& partitions)
    : clock_(clock) {
  for (const NamedPartition& tp : partitions) {
    partitions_[{tp.topic, tp.partition}] =
        history_.PartitionOf(tp.ToString());
  }
}

void HistoryRecorder::OnSent(const NamedPartition& tp, const RecordName& name,
                             int32_t acks, bool once, std::string_view value) {
  check::Send send;
  send.value = {NameOf(name), check::HashOf(value)};
  send.partition = partitions_.at({tp.topic, tp.partition});
  send.acks = acks;
  send.attempts = once ? 1 : check::Send::kAnyAttempts;
  send.invoked_us = clock_->MonoMicros();
  Require(history_.AddSend(send).status());
  once_[name] = once;
}

void HistoryRecorder::OnSettled(const RecordName& name,
                                const absl::StatusOr<Offset>& result) {
  const auto sent = once_.find(name);
  const bool once = sent->second;
  once_.erase(sent);
  const auto index = static_cast<size_t>(history_.IndexOf(NameOf(name)));
  if (result.ok()) {
    const int32_t partition = history_.sends()[index].partition;
    return Require(history_.EndSend(index, check::SendOutcome::kOk,
                                    clock_->MonoMicros(), result->value(),
                                    acked_by_.at(partition).value()));
  }
  Require(history_.EndSend(index,
                           once && IsDefinite(result.status())
                               ? check::SendOutcome::kFailed
                               : check::SendOutcome::kUnknown,
                           clock_->MonoMicros()));
}

int64_t HistoryRecorder::OpenSession(int32_t consumer,
                                     const NamedPartition& tp) {
  const auto session = history_.AddSession(
      {consumer, partitions_.at({tp.topic, tp.partition}), /*start=*/0});
  Require(session.status());
  return *session;
}

void HistoryRecorder::OnPolled(int64_t session, const FetchedBatch& batch,
                               const Records& records) {
  Epochs epochs(batch);
  std::vector<check::StoredRecord> stored;
  stored.reserve(records.size());
  for (const Found& found : records) {
    stored.push_back({found.offset.value(), epochs.Of(found.offset),
                      {NameOf(found.name), found.hash}});
  }
  Require(history_.AddPoll(session, batch.from.value(), batch.next.value(),
                           stored));
}

void HistoryRecorder::OnFinalRead(int64_t session, Offset begin, Offset end) {
  std::vector<check::StoredRecord> all;
  for (const check::Poll& poll : history_.polls()) {
    if (poll.session != session) continue;
    const auto first = history_.records().begin() +
                       static_cast<std::ptrdiff_t>(poll.records.first);
    all.insert(all.end(), first,
               first + static_cast<std::ptrdiff_t>(poll.records.count));
  }
  Require(history_.AddCopy(
      history_.sessions()[static_cast<size_t>(session)].partition,
      check::Copy::kFinalRead, begin.value(), end.value()));
  Require(history_.AddToLastCopy(all));
}

void HistoryRecorder::OnAnswer(check::Answer::Kind kind,
                               const std::string& topic,
                               PartitionIndex partition, int64_t began_us,
                               LeaderEpoch epoch, Offset high_watermark) {
  const auto found = partitions_.find({topic, partition});
  if (found == partitions_.end()) return;
  Require(history_.AddAnswer({kind, found->second, began_us,
                              clock_->MonoMicros(), epoch.value(),
                              high_watermark.value()}));
}

void HistoryRecorder::OnProduced(const api::ProduceResult& result,
                                 LeaderEpoch leader_epoch) {
  const auto found = partitions_.find({result.topic.name, result.partition});
  if (found != partitions_.end()) acked_by_[found->second] = leader_epoch;
}

void HistoryRecorder::OnFetched(const api::FetchResponse& response,
                                int64_t began_us) {
  for (const api::FetchResult& result : response.results) {
    // Who only follows knows of less, and a leader that names one that is near
    // says nothing.
    const bool leads = result.log_start_offset != kNoOffset &&
                       result.preferred_replica.value() <= 0;
    if (!result.error.ok() || !leads) continue;
    OnAnswer(check::Answer::Kind::kFetch, result.topic.name, result.partition,
             began_us, result.leader_epoch, result.high_watermark);
  }
}

// The epoch is the question's: the broker refuses any other than its own.
void HistoryRecorder::OnListed(const api::ListOffsetsRequest& request,
                               const api::ListOffsetsResponse& response,
                               int64_t began_us) {
  if (request.partitions.size() != response.results.size()) return;
  for (size_t i = 0; i < request.partitions.size(); ++i) {
    const api::ListOffsetsPartition& asked = request.partitions[i];
    const api::ListOffsetsResult& result = response.results[i];
    if (!result.error.ok()) continue;
    if (asked.position == api::OffsetPosition::kEarliest) {
      if (on_earliest_ == nullptr) continue;
      on_earliest_({asked.topic.name, asked.partition},
                   {asked.leader_epoch.value_or(kNoLeaderEpoch), result.offset,
                    began_us, clock_->MonoMicros()});
      continue;
    }
    OnAnswer(check::Answer::Kind::kLatest, asked.topic.name, asked.partition,
             began_us, asked.leader_epoch.value_or(kNoLeaderEpoch),
             result.offset);
  }
}

}  // namespace sluice::sim
