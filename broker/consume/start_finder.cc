#include "broker/consume/start_finder.h"

#include <algorithm>
#include <utility>

#include "client/status_kinds.h"
#include "common/base/error.h"

namespace sluice::consume {
namespace {

absl::Status StatusOf(const v1::Error& error) {
  const ErrorCode code = CodeFromNumber(error.code());
  return code == ErrorCode::kNone ? absl::OkStatus()
                                  : MakeErrorStatus(code, error.message());
}

}  // namespace

void StartFinder::Want(const Partitions& partitions) {
  wanted_.insert(partitions.begin(), partitions.end());
}

void StartFinder::Forget(const Partitions& partitions) {
  for (const NamedPartition& tp : partitions) {
    wanted_.erase(tp);
    asked_.erase(tp);
    found_.erase(tp);
  }
}

std::map<NamedPartition, Place> StartFinder::TakeFound() {
  return std::exchange(found_, {});
}

TopicId StartFinder::IdOf(const std::string& topic) const {
  const auto found = topics_.find(topic);
  return found == topics_.end() ? TopicId() : found->second;
}

int64_t StartFinder::NextWakeUs() const {
  return stage_ == Stage::kIdle && !wanted_.empty() ? not_before_us_ : kNever;
}

std::vector<NamedPartition> StartFinder::AllOf(
    const std::set<std::string>& topics) const {
  std::set<NamedPartition> all;
  for (const NamedPartition& tp : asked_) {
    if (topics.contains(tp.topic)) all.insert(tp);
  }
  for (const std::string& topic : topics) {
    const auto known = counts_.find(topic);
    if (known == counts_.end()) continue;
    for (int32_t i = 0; i < known->second; ++i) {
      all.insert({topic, PartitionIndex(i)});
    }
  }
  return {all.begin(), all.end()};
}

// ---- What is committed ----

std::vector<Action> StartFinder::Advance(const Member& member,
                                         int64_t now_us) {
  // What is asked in an older generation is asked anew.
  if (stage_ != Stage::kIdle && (member.id != member_.id ||
                                 member.generation != member_.generation)) {
    EndRound();
  }
  if (stage_ == Stage::kIdle && !wanted_.empty() && member.in_generation &&
      now_us >= not_before_us_ && failed_.ok()) {
    member_ = member;
    stage_ = Stage::kFetching;
    asked_ = wanted_;
    std::set<std::string> topics;
    for (const NamedPartition& tp : asked_) topics.insert(tp.topic);
    SendFetchOffsets fetch{call_ = ++last_call_, {}};
    fetch.query.set_group_id(options_.membership.group_id);
    fetch.query.set_member_id(member.id);
    fetch.query.set_generation_id(member.generation);
    v1::TopicPartitions* of_topic = nullptr;
    for (const NamedPartition& tp : AllOf(topics)) {
      if (of_topic == nullptr || of_topic->topic().name() != tp.topic) {
        of_topic = fetch.query.add_topics();
        of_topic->mutable_topic()->set_name(tp.topic);
      }
      of_topic->add_partitions(tp.partition.value());
    }
    actions_.push_back(std::move(fetch));
  }
  return std::exchange(actions_, {});
}

void StartFinder::EndRound() {
  stage_ = Stage::kIdle;
  call_ = 0;
  asked_.clear();
  topics_.clear();
  new_topics_.clear();
  places_.clear();
}

void StartFinder::Again(const absl::Status& why, int64_t now_us) {
  const ErrorCode code = CodeOf(why);
  // The member joins anew then, and what it is given is looked for again.
  const bool of_member = code == ErrorCode::kUnknownMemberId ||
                         code == ErrorCode::kIllegalGeneration ||
                         code == ErrorCode::kFencedInstanceId ||
                         code == ErrorCode::kTakenOver;
  said_ = membership::OffsetsAnswered{member_.id, member_.generation, why};
  if (!of_member && !IsRetriableStatus(why)) failed_ = why;
  not_before_us_ = now_us + kAskAgainUs;
  EndRound();
}

bool StartFinder::On(const OffsetsFetched& e, int64_t now_us) {
  if (stage_ != Stage::kFetching || e.call != call_) return false;
  absl::Status status = e.answer.status();
  if (status.ok()) status = StatusOf(e.answer->error());
  for (int i = 0; status.ok() && i < e.answer->offsets_size(); ++i) {
    status = StatusOf(e.answer->offsets(i).error());
  }
  if (!status.ok()) {
    Again(status, now_us);
    return true;
  }
  topics_ = e.topics;
  Sort(*e.answer);
  new_topics_.empty() ? EndRound() : BeginTopics(now_us);
  return true;
}

void StartFinder::Sort(const v1::GroupOffsets& committed) {
  std::map<NamedPartition, Place> known;
  std::set<std::string> read_topics;
  for (const v1::CommittedOffset& offset : committed.offsets()) {
    if (offset.offset() < 0) continue;
    Place place{Offset(offset.offset()), kNoLeaderEpoch,
                IdOf(offset.topic().name())};
    // An epoch says something of one topic alone.
    if (offset.has_leader_epoch() && place.topic_id.is_set()) {
      place.leader_epoch = LeaderEpoch(offset.leader_epoch());
    }
    known[{offset.topic().name(), PartitionIndex(offset.partition())}] = place;
    read_topics.insert(offset.topic().name());
  }
  const bool earliest = options_.reset == v1::ConsumeOpen::RESET_EARLIEST;
  const Partitions asked = asked_;
  for (const NamedPartition& tp : asked) {
    const auto found = known.find(tp);
    if (found != known.end()) {
      Found(tp, found->second);
    } else if (earliest || read_topics.contains(tp.topic)) {
      Found(tp, {Edge::kEarliest});
    } else {
      new_topics_.insert(tp.topic);
    }
  }
}

void StartFinder::Found(const NamedPartition& tp, Place place) {
  // Forgotten meanwhile.
  if (asked_.erase(tp) == 0) return;
  wanted_.erase(tp);
  found_[tp] = place;
}

// ---- Topics of which nothing is committed ----

void StartFinder::BeginTopics(int64_t now_us) {
  if (options_.reset == v1::ConsumeOpen::RESET_NONE) {
    failed_ = MakeError(
        ErrorCode::kOffsetOutOfRange, "group ", options_.membership.group_id,
        " has committed nothing of topic ", *new_topics_.begin(),
        ", and reset is NONE; commit where it is to begin (`sluice group "
        "seek`), or use start_by_seek");
    return EndRound();
  }
  if (!member_.is_leader) {
    waits_since_us_ = std::min(waits_since_us_, now_us);
    if (now_us - waits_since_us_ < kLeaderPatienceUs) {
      not_before_us_ = now_us + kAskAgainUs;
      return EndRound();
    }
  }
  waits_since_us_ = kNever;
  stage_ = Stage::kEnds;
  List(std::nullopt);
}

void StartFinder::List(std::optional<int64_t> back_ms) {
  actions_.push_back(
      ListOffsets{call_ = ++last_call_, AllOf(new_topics_), back_ms, topics_});
}

bool StartFinder::On(const OffsetsListed& e, int64_t now_us) {
  const bool mine = stage_ == Stage::kEnds || stage_ == Stage::kTimes;
  if (!mine || e.call != call_) return false;
  if (!e.answer.ok()) {
    Again(e.answer.status(), now_us);
    return true;
  }
  if (stage_ == Stage::kEnds) {
    places_ = *e.answer;
    if (options_.reset == v1::ConsumeOpen::RESET_DURATION) {
      stage_ = Stage::kTimes;
      List(options_.reset_back_ms);
      return true;
    }
  } else {
    // Where nothing is so young: the end.
    for (const auto& [tp, offset] : *e.answer) {
      if (offset != kNoOffset) places_[tp] = offset;
    }
  }
  OnPlaces();
  return true;
}

void StartFinder::OnPlaces() {
  // A leader that knows nothing of this rule has committed nothing in time.
  if (member_.is_leader) return CommitPlaces();
  FindPlaces();
}

void StartFinder::FindPlaces() {
  for (const auto& [tp, offset] : places_) {
    Found(tp, {offset, kNoLeaderEpoch, IdOf(tp.topic)});
  }
  EndRound();
}

void StartFinder::CommitPlaces() {
  stage_ = Stage::kCommitting;
  SendCommit commit{call_ = ++last_call_, {}, false};
  commit.request.set_group_id(options_.membership.group_id);
  commit.request.set_member_id(member_.id);
  commit.request.set_group_instance_id(options_.membership.instance_id);
  commit.request.set_generation_id(member_.generation);
  commit.request.set_stream(options_.membership.stream);
  commit.request.set_administrative(true);  // where nothing is committed
  for (const auto& [tp, offset] : places_) {
    v1::OffsetCommit* place = commit.request.add_offsets();
    if (const TopicId id = IdOf(tp.topic); id.is_set()) {
      place->mutable_topic()->set_id(id.ToBytes());
    } else {
      place->mutable_topic()->set_name(tp.topic);
    }
    place->set_partition(tp.partition.value());
    place->set_offset(offset.value());
  }
  actions_.push_back(std::move(commit));
}

bool StartFinder::On(const CommitAnswered& e, int64_t now_us) {
  if (stage_ != Stage::kCommitting || e.call != call_) return false;
  absl::Status status = e.answer.status();
  bool read_meanwhile = false;
  for (int i = 0; status.ok() && i < e.answer->results_size(); ++i) {
    status = StatusOf(e.answer->results(i).error());
    if (CodeOf(status) != ErrorCode::kInvalidCommitOffset) continue;
    // Another member began there before: where it stands now is asked for.
    read_meanwhile = true;
    status = absl::OkStatus();
  }
  if (!status.ok()) {
    Again(status, now_us);
    return true;
  }
  read_meanwhile ? EndRound() : FindPlaces();
  return true;
}

}  // namespace sluice::consume
