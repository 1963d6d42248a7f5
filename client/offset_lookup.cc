#include "client/offset_lookup.h"

#include <algorithm>

#include "client/backoff.h"
#include "common/base/error.h"

namespace sluice {
namespace {

// Short: mostly it waits for one metadata answer.
constexpr int64_t kFirstPauseUs = 4'000;

class Lookup : public std::enable_shared_from_this<Lookup> {
 public:
  Lookup(const ClientDeps& deps, const ClientOptions& client,
         MetadataCache* metadata, std::vector<NamedPartition> partitions,
         api::OffsetPosition position, int64_t timeout_us,
         OffsetLookup::Done done)
      : deps_(deps),
        client_(client),
        metadata_(metadata),
        metadata_lives_(metadata->lifetime()),
        position_(position),
        open_(partitions.begin(), partitions.end()),
        deadline_us_(deps.clock->MonoMicros() + timeout_us),
        random_(deps.seed ^ 0x6f666673),
        backoff_(kFirstPauseUs, client.retry_backoff_max_ms * 1000),
        done_(std::move(done)) {}

  void Begin() {
    for (const NamedPartition& tp : open_) metadata_->Follow(tp.topic);
    Ask();
  }

 private:
  using Asked = std::vector<std::pair<NamedPartition, LeaderEpoch>>;

  void Ask() {
    if (done_ == nullptr || IsClosed()) return;
    if (open_.empty()) return Finish(found_);
    const int64_t left_us = deadline_us_ - deps_.clock->MonoMicros();
    if (left_us <= 0) return Finish(TimedOut());
    std::map<api::Endpoint, Asked> by_leader;
    for (const NamedPartition& tp : open_) {
      if (asked_.contains(tp)) continue;
      const auto leader = metadata_->LeaderOf(tp);
      if (leader.has_value()) {
        by_leader[leader->endpoint].emplace_back(tp, leader->leader_epoch);
      } else if (metadata_->Find(tp.topic) != nullptr) {
        metadata_->Suspect(tp, kNoLeaderEpoch);
        last_error_ =
            MakeError(ErrorCode::kLeaderNotAvailable, tp, " has no leader");
      } else if (const auto why = metadata_->WhyUnknown(tp.topic); !why.ok()) {
        last_error_ = why;
      }
    }
    for (auto& [endpoint, asked] : by_leader) {
      AskLeader(endpoint, std::move(asked), left_us);
    }
    const int64_t pause_us = std::min(backoff_.NextDelayUs(random_), left_us);
    deps_.executor->PostAfter(pause_us,
                              [self = shared_from_this()] { self->Ask(); });
  }

  void AskLeader(const api::Endpoint& endpoint, Asked asked, int64_t left_us) {
    api::ListOffsetsRequest request;
    for (const auto& [tp, epoch] : asked) {
      asked_.insert(tp);
      api::ListOffsetsPartition& partition = request.partitions.emplace_back();
      partition.topic.name = tp.topic;
      partition.partition = tp.partition;
      partition.position = position_;
      partition.leader_epoch = epoch;
    }
    metadata_->connections().At(endpoint)->ListOffsets(
        request, std::min(left_us, client_.request_timeout_ms * 1000),
        [self = shared_from_this(), asked = std::move(asked)](
            absl::StatusOr<api::ListOffsetsResponse> answer) {
          self->OnAnswer(asked, std::move(answer));
        });
  }

  void OnAnswer(const Asked& asked,
                absl::StatusOr<api::ListOffsetsResponse> answer) {
    if (done_ == nullptr || IsClosed()) return;
    for (size_t i = 0; i < asked.size(); ++i) {
      const auto& [tp, epoch] = asked[i];
      asked_.erase(tp);
      absl::Status error = answer.status();
      if (answer.ok()) {
        if (i >= answer->results.size()) continue;
        const api::ListOffsetsResult& result = answer->results[i];
        if (result.error.ok()) {
          found_[tp] = result.offset;
          open_.erase(tp);
          continue;
        }
        error = MakeErrorStatus(result.error.code, result.error.message);
        if (result.leader.has_value()) metadata_->Learn(tp, *result.leader);
      }
      last_error_ = error;
      if (!IsRetriableStatus(error)) return Finish(error);
      metadata_->Suspect(tp, epoch);
    }
    if (open_.empty()) Finish(found_);
  }

  bool IsClosed() {
    if (!metadata_lives_.expired()) return false;
    Finish(MakeError(ErrorCode::kShuttingDown, "the client was closed"));
    return true;
  }

  absl::Status TimedOut() const {
    if (!last_error_.ok()) return last_error_;
    return MakeError(ErrorCode::kRequestTimedOut, "no broker told the offsets",
                     " of ", *open_.begin(), " in time");
  }

  void Finish(absl::StatusOr<std::map<NamedPartition, Offset>> result) {
    auto done = std::move(done_);
    done_ = nullptr;
    done(std::move(result));
  }

  const ClientDeps deps_;
  const ClientOptions client_;
  MetadataCache* const metadata_;
  const std::weak_ptr<const void> metadata_lives_;
  const api::OffsetPosition position_;
  std::set<NamedPartition> open_;
  std::set<NamedPartition> asked_;  // of open_: an answer is on its way
  const int64_t deadline_us_;
  Random random_;
  Backoff backoff_;
  std::map<NamedPartition, Offset> found_;
  absl::Status last_error_;
  OffsetLookup::Done done_;
};

}  // namespace

void OffsetLookup::Start(const ClientDeps& deps, const ClientOptions& client,
                         MetadataCache* metadata,
                         std::vector<NamedPartition> partitions,
                         api::OffsetPosition position, int64_t timeout_us,
                         Done done) {
  std::make_shared<Lookup>(deps, client, metadata, std::move(partitions),
                           position, timeout_us, std::move(done))
      ->Begin();
}

}  // namespace sluice
