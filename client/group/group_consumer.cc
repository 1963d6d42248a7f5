// What is handed out, and what is done with.
#include "client/group/group_consumer.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

ConsumerOptions FetchingOf(const GroupConsumerOptions& options) {
  ConsumerOptions fetching = options.fetching;
  // For positions that the log does not hold any more: where a partition begins
  // is StartPositions' to say.
  switch (options.reset) {
    case GroupReset::kEarliest:
    case GroupReset::kDuration:  // what is left of it begins there
    case GroupReset::kTime:
      fetching.reset = OffsetReset::kEarliest;
      break;
    case GroupReset::kLatest:
      fetching.reset = OffsetReset::kLatest;
      break;
    case GroupReset::kNone:
      fetching.reset = OffsetReset::kNone;
      break;
  }
  return fetching;
}

}  // namespace

GroupConsumer::GroupConsumer(const GroupMember::Deps& deps,
                             const GroupConsumerOptions& options)
    : deps_(deps),
      options_(options),
      consumer_(deps.client, deps.options, FetchingOf(options), deps.metadata),
      member_(deps, options.membership,
              {[this](const auto& partitions, bool lost) {
                 OnRelease(partitions, lost);
               },
               [this](const auto& added) { OnAssigned(added); },
               [this](const auto& status) { OnFailed(status); }}) {}

GroupConsumer::~GroupConsumer() {
  alive_.reset();
  topic_watch_.reset();
  if (poll_timer_ != 0) deps_.client.executor->Cancel(poll_timer_);
  if (poll_ != nullptr) {
    std::exchange(poll_, nullptr)(
        MakeError(ErrorCode::kShuttingDown, "the consumer was closed"));
  }
}

absl::Status GroupConsumer::Subscribe(const std::set<std::string>& topics) {
  if (topics.empty()) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "a subscription names at least one topic; Close leaves "
                     "the group");
  }
  topic_watch_.reset();
  member_.Subscribe(topics);
  return absl::OkStatus();
}

absl::Status GroupConsumer::SubscribePattern(const std::string& pattern) {
  TopicWatch::Deps watching;
  watching.client = deps_.client;
  watching.options = deps_.options;
  watching.metadata = deps_.metadata;
  watching.on_topics = [this](const std::set<std::string>& topics) {
    member_.Subscribe(topics);
  };
  watching.on_error = [this](const absl::Status& status) {
    errors_.push_back(status);
    AnswerIfAny();
  };
  auto watch = TopicWatch::Start(watching, pattern);
  if (!watch.ok()) return watch.status();
  topic_watch_ = *std::move(watch);
  return absl::OkStatus();
}

// ---- Poll ----

int64_t GroupConsumer::PollLeftUs() const {
  return std::max<int64_t>(
      0, poll_deadline_us_ - deps_.client.clock->MonoMicros());
}

void GroupConsumer::Poll(int64_t timeout_us, int64_t bytes_max,
                         PollCallback callback) {
  if (poll_ != nullptr) {
    return callback(MakeError(ErrorCode::kInvalidRequest,
                              "a consumer answers one Poll at a time"));
  }
  if (closed_) {
    return callback(
        MakeError(ErrorCode::kShuttingDown, "the consumer was closed"));
  }
  poll_ = std::move(callback);
  poll_bytes_max_ = bytes_max;
  poll_deadline_us_ = deps_.client.clock->MonoMicros() + timeout_us;
  poll_timer_ = deps_.client.executor->PostAfter(
      std::max<int64_t>(0, timeout_us),
      [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        poll_timer_ = 0;
        if (poll_ != nullptr) Answer(GroupPoll());
      });
  beginning_ = true;
  AutoCommitIfDue();
  AcknowledgeLast();
  member_.PollBegan();
  beginning_ = false;
  AnswerIfAny();
}

void GroupConsumer::AcknowledgeLast() {
  if (release_stage_ == ReleaseStage::kTold) {
    release_stage_ = ReleaseStage::kNone;
    releasing_.clear();
    member_.Released();
  }
  if (starts_due_) FindStarts();
}

void GroupConsumer::AnswerIfAny() {
  if (poll_ == nullptr || beginning_) return;
  if (failed_.has_value()) return Answer(*failed_);
  GroupPoll result;
  if (ReleaseStep(result) || AssignStep(result)) {
    return Answer(std::move(result));
  }
  // Between the wish to take partitions back and their being told, nothing more
  // of them is handed out: their positions are being committed.
  if (release_stage_ == ReleaseStage::kCommitting) return;
  if (TakeRecords(result)) {
    if (MUTANT(kThisPollCommitted)) AutoCommitIfDue();
    return Answer(std::move(result));
  }
  if (!errors_.empty()) {
    const absl::Status error = errors_.front();
    errors_.pop_front();
    return Answer(error);
  }
  Pull();
}

void GroupConsumer::Answer(absl::StatusOr<GroupPoll> result) {
  if (poll_timer_ != 0) deps_.client.executor->Cancel(poll_timer_);
  poll_timer_ = 0;
  auto callback = std::exchange(poll_, nullptr);
  member_.PollEnded();
  callback(std::move(result));
}

bool GroupConsumer::TakeRecords(GroupPoll& into) {
  int64_t offsets = options_.max_poll_records;
  int64_t bytes = 0;
  auto next = owned_.upper_bound(last_taken_);
  for (size_t i = 0; i < owned_.size() && offsets > 0; ++i, ++next) {
    if (next == owned_.end()) next = owned_.begin();
    auto& [tp, owned] = *next;
    while (!owned.paused && !owned.waiting.empty() && offsets > 0 &&
           (bytes < poll_bytes_max_ || into.batches.empty())) {
      FetchedBatch& waiting = owned.waiting.front();
      bytes += waiting.size_bytes();
      FetchedBatch front = TakeFront(waiting, offsets);
      offsets -= front.next - front.from;
      owned.position = front.next;
      owned.epoch = front.last_epoch;
      owned.topic_id = front.topic_id;
      if (waiting.from >= waiting.next) owned.waiting.pop_front();
      last_taken_ = tp;
      into.batches.push_back(std::move(front));
    }
  }
  return !into.batches.empty();
}

void GroupConsumer::Pull() {
  if (pulling_) return;
  pulling_ = true;
  consumer_.Poll(PollLeftUs(), poll_bytes_max_,
                 [this, alive = std::weak_ptr<bool>(alive_)](
                     absl::StatusOr<Consumer::Batches> batches) {
                   if (!alive.expired()) OnPulled(std::move(batches));
                 });
}

void GroupConsumer::OnPulled(absl::StatusOr<Consumer::Batches> batches) {
  pulling_ = false;
  if (!batches.ok()) {
    errors_.push_back(batches.status());
  } else {
    for (FetchedBatch& batch : *batches) {
      const auto owned = owned_.find(batch.tp);
      if (owned == owned_.end()) continue;  // taken back meanwhile
      if (batch.next > batch.from) {
        owned->second.waiting.push_back(std::move(batch));
      }
    }
  }
  // Posted: Consumer may have answered from within Poll, that is from within
  // this loop's last turn.
  deps_.client.executor->Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && poll_ != nullptr && PollLeftUs() > 0) AnswerIfAny();
  });
}

// ---- What the application asks for ----

absl::Status GroupConsumer::NotAssigned(const NamedPartition& tp) const {
  return MakeError(ErrorCode::kInvalidRequest, tp,
                   " is not assigned to this member of group ",
                   options_.membership.group_id);
}

absl::Status GroupConsumer::Seek(const NamedPartition& tp, Offset offset) {
  const auto found = owned_.find(tp);
  if (found == owned_.end()) return NotAssigned(tp);
  if (offset < Offset(0)) {
    return MakeError(ErrorCode::kInvalidRequest, "cannot seek ", tp,
                     " to offset ", offset, "; offsets begin at 0");
  }
  Owned& owned = found->second;
  owned.position = offset;
  owned.epoch = kNoLeaderEpoch;
  owned.waiting.clear();
  if (owned.fetched) return consumer_.Seek(tp, offset);
  FetchWhatStarted();
  return absl::OkStatus();
}

absl::Status GroupConsumer::Pause(const NamedPartition& tp) {
  const auto found = owned_.find(tp);
  if (found == owned_.end()) return NotAssigned(tp);
  found->second.paused = true;
  consumer_.Pause(tp);
  return absl::OkStatus();
}

absl::Status GroupConsumer::Resume(const NamedPartition& tp) {
  const auto found = owned_.find(tp);
  if (found == owned_.end()) return NotAssigned(tp);
  found->second.paused = false;
  consumer_.Resume(tp);
  AnswerIfAny();
  return absl::OkStatus();
}

std::optional<Offset> GroupConsumer::Position(const NamedPartition& tp) const {
  const auto found = owned_.find(tp);
  if (found == owned_.end()) return std::nullopt;
  const std::optional<Offset> reads_from =
      found->second.fetched ? consumer_.Position(tp) : std::nullopt;
  // A cut of the log, or a topic that was made again, has taken it back.
  if (reads_from.has_value() && found->second.position.has_value()) {
    return std::min(*reads_from, *found->second.position);
  }
  return found->second.position;
}

std::vector<NamedPartition> GroupConsumer::Assignment() const {
  std::vector<NamedPartition> all;
  for (const auto& [tp, owned] : owned_) all.push_back(tp);
  return all;
}

void GroupConsumer::Commit(Done done) {
  CommitOffsets(Positions(nullptr), std::move(done));
}

void GroupConsumer::CommitOffsets(const CommittedPositions& positions,
                                  Done done) {
  member_.Commit(positions, deps_.options.request_timeout_ms * 1000,
                 std::move(done));
}

void GroupConsumer::FetchCommitted(
    const std::vector<NamedPartition>& partitions, Committed done) {
  member_.FetchCommitted(partitions, deps_.options.request_timeout_ms * 1000,
                         std::move(done));
}

void GroupConsumer::Close(std::function<void(const absl::Status&)> done) {
  closed_ = true;
  topic_watch_.reset();
  if (poll_ != nullptr) {
    Answer(MakeError(ErrorCode::kShuttingDown, "the consumer was closed"));
  }
  const auto leave = [this, alive = std::weak_ptr<bool>(alive_),
                      done = std::move(done)](const absl::Status& committed) {
    if (alive.expired()) return done(committed);
    member_.Leave([done, committed] { done(committed); });
  };
  const CommittedPositions positions = Positions(nullptr);
  if (!options_.auto_commit || positions.empty() || failed_.has_value() ||
      member_.generation() == membership::kNoGeneration) {
    return leave(absl::OkStatus());
  }
  CommitOffsets(positions, leave);
}

}  // namespace sluice
