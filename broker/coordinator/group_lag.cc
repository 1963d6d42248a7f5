#include "broker/coordinator/group_lag.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/group_errors.h"
#include "common/base/error.h"
#include "storage/batch_header.h"
#include "storage/record_reader.h"

namespace sluice::coordinator {
namespace {

// The timestamp of the first record at or behind `offset`; nullopt: none is
// there, or it cannot be read.
std::optional<int64_t> FirstTimestamp(const std::vector<Buffer>& batches,
                                      Offset offset) {
  for (const Buffer& piece : batches) {
    BatchCursor cursor(piece.view());
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      if ((*batch)->header().next_offset() <= offset) continue;
      auto reader = RecordReader::Open(**batch);
      if (!reader.ok()) return std::nullopt;
      for (auto record = reader->Next(); record.ok() && record->has_value();
           record = reader->Next()) {
        if ((*record)->offset >= offset) return (*record)->timestamp_ms;
      }
    }
  }
  return std::nullopt;
}

// One description of many; lives until all is answered. Of the worker.
class LagCall : public std::enable_shared_from_this<LagCall> {
 public:
  LagCall(const LagSources& sources, const api::CallContext& context,
          v1::DescribeGroupsResponse response,
          absl::AnyInvocable<void(v1::DescribeGroupsResponse)> done)
      : sources_(sources),
        context_(context),
        response_(std::move(response)),
        done_(std::move(done)) {}

  void Start() {
    for (auto& group : *response_.mutable_groups()) {
      for (auto& partition : *group.mutable_partitions()) {
        const Place place(partition.topic(), partition.partition());
        if (!asked_.contains(place) && asked_.size() == kLagPartitionsMax) {
          PutError(MakeError(ErrorCode::kBusy, "the lag of ",
                             kLagPartitionsMax,
                             " partitions is told in one call; describe fewer "
                             "groups"),
                   partition.mutable_lag_error());
          continue;
        }
        asked_[place].partitions.push_back(&partition);
      }
    }
    if (asked_.empty()) return done_(std::move(response_));
    missing_ = 2;
    Ask(api::OffsetPosition::kEarliest);
    Ask(api::OffsetPosition::kLatest);
  }

 private:
  using Place = std::pair<std::string, int32_t>;
  struct Asked {
    std::vector<v1::GroupPartition*> partitions;
    Offset log_start = kNoOffset;
    Offset high_watermark = kNoOffset;
    api::ItemError error;
  };
  struct Age {
    Place place;
    Offset from;
    std::vector<v1::GroupPartition*> partitions;
  };

  void Ask(api::OffsetPosition position) {
    api::ListOffsetsRequest request;
    request.route = api::Route::kForward;
    for (const auto& [place, asked] : asked_) {
      auto& one = request.partitions.emplace_back();
      one.topic.name = place.first;
      one.partition = PartitionIndex(place.second);
      one.position = position;
    }
    sources_.list_offsets(
        context_, request,
        [self = shared_from_this(), position](
            const absl::Status& status, api::ListOffsetsResponse answer) {
          self->sources_.worker->Post(
              [self, position, status, answer = std::move(answer)] {
                self->OnOffsets(position, status, answer);
              });
        });
  }

  // The answers are in the order asked.
  void OnOffsets(api::OffsetPosition position, const absl::Status& status,
                 const api::ListOffsetsResponse& answer) {
    size_t i = 0;
    for (auto& [place, asked] : asked_) {
      if (!status.ok()) {
        asked.error = api::ItemError(status);
      } else if (i < answer.results.size()) {
        const api::ListOffsetsResult& told = answer.results[i];
        if (!told.error.ok()) asked.error = told.error;
        Offset& offset = position == api::OffsetPosition::kEarliest
                             ? asked.log_start
                             : asked.high_watermark;
        offset = told.offset;
      }
      ++i;
    }
    if (--missing_ == 0) PutLags();
  }

  void PutLags() {
    std::map<std::pair<Place, Offset>, Age> ages;
    for (auto& [place, asked] : asked_) {
      for (v1::GroupPartition* partition : asked.partitions) {
        if (!asked.error.ok()) {
          PutError(MakeErrorStatus(asked.error.code, asked.error.message),
                   partition->mutable_lag_error());
          continue;
        }
        partition->set_log_start_offset(asked.log_start.value());
        partition->set_high_watermark(asked.high_watermark.value());
        const Offset next = partition->committed_offset() < 0
                                ? asked.log_start
                                : Offset(partition->committed_offset());
        partition->set_lag_records(asked.high_watermark - next);
        if (next >= asked.high_watermark) continue;
        const Offset from = std::max(next, asked.log_start);
        Age& age = ages[{place, from}];
        age.place = place;
        age.from = from;
        age.partitions.push_back(partition);
      }
    }
    for (auto& [key, age] : ages) ages_.push_back(std::move(age));
    NextAges();
  }

  void NextAges() {
    while (reading_ < kAgesAtOnce && next_age_ < ages_.size()) {
      ++reading_;
      ReadAge(next_age_++);
    }
    if (reading_ == 0) done_(std::move(response_));
  }

  void ReadAge(size_t index) {
    const Age& age = ages_[index];
    api::FetchRequest request;
    request.route = api::Route::kForward;
    request.form = api::PayloadForm::kBatches;
    request.max_bytes = 1;  // at least one whole batch comes
    auto& one = request.partitions.emplace_back();
    one.topic.name = age.place.first;
    one.partition = PartitionIndex(age.place.second);
    one.offset = age.from;
    one.max_bytes = 1;
    sources_.fetch(
        context_, std::move(request),
        [self = shared_from_this(), index](const absl::Status& status,
                                           api::FetchResponse answer) {
          self->sources_.worker->Post(
              [self, index, status, answer = std::move(answer)] {
                self->OnAge(index, status, answer);
              });
        });
  }

  void OnAge(size_t index, const absl::Status& status,
             const api::FetchResponse& answer) {
    const Age& age = ages_[index];
    api::ItemError error(status);
    if (status.ok()) {
      error = answer.results.empty()
                  ? api::ItemError(ErrorCode::kUnknownServerError,
                                   "nothing was answered")
                  : answer.results[0].error;
    }
    const auto timestamp_ms =
        error.ok() ? FirstTimestamp(answer.results[0].batches, age.from)
                   : std::nullopt;
    for (v1::GroupPartition* partition : age.partitions) {
      if (!error.ok()) {
        PutError(MakeErrorStatus(error.code, error.message),
                 partition->mutable_lag_error());
      } else if (timestamp_ms.has_value()) {
        partition->set_lag_ms(std::max<int64_t>(
            sources_.clock->WallMillis() - *timestamp_ms, 1));
      }
    }
    --reading_;
    NextAges();
  }

  const LagSources sources_;
  const api::CallContext context_;
  v1::DescribeGroupsResponse response_;
  absl::AnyInvocable<void(v1::DescribeGroupsResponse)> done_;
  std::map<Place, Asked> asked_;
  int missing_ = 0;
  std::vector<Age> ages_;
  size_t next_age_ = 0;
  size_t reading_ = 0;
};

}  // namespace

void AddLag(const LagSources& sources, const api::CallContext& context,
            v1::DescribeGroupsResponse response,
            absl::AnyInvocable<void(v1::DescribeGroupsResponse)> done) {
  std::make_shared<LagCall>(sources, context, std::move(response),
                            std::move(done))
      ->Start();
}

}  // namespace sluice::coordinator
