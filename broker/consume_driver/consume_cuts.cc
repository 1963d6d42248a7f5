// Logs that were cut below what a stream has read, or its group has committed.
#include <algorithm>
#include <utility>

#include "broker/consume_driver/consume_stream.h"
#include "common/base/error.h"

namespace sluice {

using namespace consume;  // NOLINT: the words of the core

// A subscription tells no history from another (KIP-320): a log that an unclean
// election has cut and filled again past the start looks as if it went on. So
// wherever reading begins below a leader that may be another one, where the
// epoch of what was read ends is asked first.
void ConsumeStream::AskWhetherCut(const NamedPartition& tp, Read& read,
                                  Offset start, LeaderEpoch epoch) {
  read.check = ++last_check_;
  api::OffsetForLeaderEpochRequest request;
  request.route = api::Route::kForward;
  api::OffsetForLeaderEpochPartition& asked = request.partitions.emplace_back();
  asked.topic.id = read.tp.topic_id;
  asked.partition = read.tp.partition;
  asked.leader_epoch = epoch;
  asked.current_leader_epoch = EpochToReadBy(read.tp, read);
  deps_.epoch_ends(
      Context(kCallTimeoutUs), request,
      [weak = weak_from_this(), worker = deps_.worker, tp, start,
       check = read.check](absl::Status status,
                           api::OffsetForLeaderEpochResponse response) {
        if (status.ok() && response.results.size() != 1) {
          status = MakeError(ErrorCode::kUnknownServerError, "the end of an "
                             "epoch of ", tp.ToString(), " was asked for, ",
                             response.results.size(), " partitions answered");
        }
        api::OffsetForLeaderEpochResult end;
        if (status.ok()) {
          end = std::move(response.results.front());
        } else {
          end.error = api::ItemError(status);
        }
        worker->Post([weak, tp, check, start, end = std::move(end)] {
          if (const auto self = weak.lock()) {
            self->OnEpochEnd(tp, check, start, end);
          }
        });
      });
}

void ConsumeStream::OnEpochEnd(
    const NamedPartition& tp, uint64_t check, Offset start,
    const api::OffsetForLeaderEpochResult& end) {
  const auto found = reads_.find(tp);
  if (sink_ == nullptr || found == reads_.end() ||
      found->second.check != check) {
    return;  // it is not read any more, or read anew
  }
  Read& read = found->second;
  read.check = 0;
  if (!end.error.ok()) {
    if (end.error.code == ErrorCode::kUnknownLeaderEpoch) ++read.refusals;
    return Do(ReadingEnded{
        tp, MakeErrorStatus(end.error.code, end.error.message)});
  }
  // Of no epoch as old as that: all that the log holds is of another history,
  // unless the record before the start was trimmed.
  const Offset agreed = end.end.epoch == kNoLeaderEpoch
                            ? end.log_start_offset
                            : std::max(end.end.end, end.log_start_offset);
  if (agreed >= start) return Subscribe(read, start);
  read.leader_epoch = kNoLeaderEpoch;
  Do(LogCut{tp, start, agreed, end.end.epoch});
}

}  // namespace sluice
