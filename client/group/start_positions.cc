#include "client/group/start_positions.h"

#include <algorithm>
#include <utility>

#include "client/offset_lookup.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

void StartPositions::Start(const GroupMember::Deps& deps, Question question) {
  std::make_shared<StartPositions>(deps, std::move(question))->Ask();
}

StartPositions::StartPositions(const GroupMember::Deps& deps,
                               Question question)
    : deps_(deps),
      question_(std::move(question)),
      begun_us_(deps.client.clock->MonoMicros()) {}

int64_t StartPositions::LeftUs() const {
  return std::max<int64_t>(
      0, begun_us_ + question_.timeout_us - deps_.client.clock->MonoMicros());
}

void StartPositions::Finish(const absl::StatusOr<CommittedPositions>& result) {
  std::exchange(question_.done, nullptr)(result);
}

std::vector<NamedPartition> StartPositions::AllOf(
    const std::set<std::string>& topics) const {
  std::set<NamedPartition> all;
  for (const NamedPartition& tp : question_.partitions) {
    if (topics.contains(tp.topic)) all.insert(tp);
  }
  for (const std::string& topic : topics) {
    const MetadataCache::Topic* known = deps_.metadata->Find(topic);
    if (known == nullptr) continue;
    for (size_t i = 0; i < known->partitions.size(); ++i) {
      all.insert({topic, PartitionIndex(static_cast<int32_t>(i))});
    }
  }
  return {all.begin(), all.end()};
}

TopicId StartPositions::IdOf(const std::string& topic) const {
  const MetadataCache::Topic* known = deps_.metadata->Find(topic);
  return known == nullptr ? TopicId() : known->id;
}

void StartPositions::Ask() {
  if (question_.lives.expired()) {
    return Finish(
        MakeError(ErrorCode::kShuttingDown, "the consumer was closed"));
  }
  std::set<std::string> topics;
  for (const NamedPartition& tp : question_.partitions) topics.insert(tp.topic);
  question_.member->FetchCommitted(
      AllOf(topics), LeftUs(),
      [self = shared_from_this()](const auto& committed) {
        self->OnCommitted(committed);
      });
}

void StartPositions::OnCommitted(
    const absl::StatusOr<CommittedPositions>& committed) {
  if (!committed.ok()) return Finish(committed.status());
  if (question_.lives.expired()) return Ask();
  starts_.clear();
  from_first_.clear();
  new_topics_.clear();
  std::set<std::string> read_topics;
  for (const auto& [tp, position] : *committed) read_topics.insert(tp.topic);
  for (const NamedPartition& tp : question_.partitions) {
    const auto found = committed->find(tp);
    if (found != committed->end()) {
      starts_[tp] = found->second;
    } else if ((read_topics.contains(tp.topic) &&
                !MUTANT(kAddedPartitionSkipped)) ||
               question_.reset == GroupReset::kEarliest) {
      from_first_.push_back(tp);
    } else {
      new_topics_.insert(tp.topic);
    }
  }
  if (new_topics_.empty()) return ReadFromStart();
  if (question_.reset == GroupReset::kNone) {
    return Finish(MakeError(
        ErrorCode::kOffsetOutOfRange, "the group has committed nothing of ",
        *new_topics_.begin(),
        " and has no reset policy; commit where it is to begin (`sluice group "
        "seek`), or seek"));
  }
  BeginTopics();
}

void StartPositions::BeginTopics() {
  const bool patient = deps_.client.clock->MonoMicros() - begun_us_ <
                       std::min(kLeaderPatienceUs, question_.timeout_us);
  if (!question_.member->is_leader() && patient) {
    deps_.client.executor->PostAfter(
        kAskAgainUs, [self = shared_from_this()] { self->Ask(); });
    return;
  }
  for (const std::string& topic : new_topics_) ids_[topic] = IdOf(topic);
  OffsetLookup::Start(
      deps_.client, deps_.options, deps_.metadata, AllOf(new_topics_),
      api::OffsetPosition::kLatest, LeftUs(),
      [self = shared_from_this()](auto ends) { self->OnLatest(ends); });
}

void StartPositions::OnLatest(const absl::StatusOr<Offsets>& ends) {
  if (!ends.ok()) return Finish(ends.status());
  if (question_.reset == GroupReset::kDuration ||
      question_.reset == GroupReset::kTime) {
    return LookUpTimes(*ends);
  }
  BeginAt(*ends);
}

// Where nothing is so young: the end.
void StartPositions::LookUpTimes(Offsets ends) {
  const int64_t since_ms =
      question_.reset == GroupReset::kTime
          ? question_.reset_time_ms
          : std::max<int64_t>(0, deps_.client.clock->WallMillis() -
                                     question_.reset_back_ms);
  OffsetLookup::Start(
      deps_.client, deps_.options, deps_.metadata, AllOf(new_topics_),
      OffsetQuery::At(since_ms), LeftUs(),
      [self = shared_from_this(), ends = std::move(ends)](
          const absl::StatusOr<Offsets>& times) mutable {
        if (!times.ok()) return self->Finish(times.status());
        for (const auto& [tp, offset] : *times) {
          if (offset != kNoOffset) ends[tp] = offset;
        }
        self->BeginAt(ends);
      });
}

void StartPositions::BeginAt(const Offsets& begins) {
  if (question_.lives.expired()) return Ask();
  CommittedPositions all;
  for (const auto& [tp, offset] : begins) {
    all[tp].offset = offset;
    all[tp].topic_id = ids_[tp.topic];
  }
  for (const NamedPartition& tp : question_.partitions) {
    if (new_topics_.contains(tp.topic)) starts_[tp] = all[tp];
  }
  // A leader that knows nothing of this rule has committed nothing in time.
  if (!question_.member->is_leader()) return ReadFromStart();
  question_.member->CommitBegins(
      all, LeftUs(), [self = shared_from_this()](const absl::Status& status) {
        // Another member began before, or an earlier try did: where is that now?
        if (CodeOf(status) == ErrorCode::kInvalidCommitOffset) {
          return self->Ask();
        }
        if (!status.ok()) return self->Finish(status);
        self->ReadFromStart();
      });
}

void StartPositions::ReadFromStart() {
  if (from_first_.empty()) return Finish(std::move(starts_));
  for (const NamedPartition& tp : from_first_) {
    starts_[tp].topic_id = IdOf(tp.topic);
  }
  OffsetLookup::Start(
      deps_.client, deps_.options, deps_.metadata, from_first_,
      api::OffsetPosition::kEarliest, LeftUs(),
      [self = shared_from_this()](auto firsts) {
        if (!firsts.ok()) return self->Finish(firsts.status());
        for (const auto& [tp, first] : *firsts) {
          self->starts_[tp].offset = first;
        }
        self->Finish(std::move(self->starts_));
      });
}

}  // namespace sluice
