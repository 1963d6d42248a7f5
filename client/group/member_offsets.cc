// The offsets of a membership: what is committed, in order, and what was.
#include <algorithm>
#include <utility>

#include "client/group/coordinator_call.h"
#include "client/group/group_errors.h"
#include "client/group/group_member.h"
#include "common/base/mutant.h"

namespace sluice {

namespace {

v1::OffsetCommit CommitOf(const NamedPartition& tp,
                          const CommittedPosition& position) {
  v1::OffsetCommit commit;
  if (position.topic_id.is_set() && !MUTANT(kCommitNamesTopic)) {
    commit.mutable_topic()->set_id(position.topic_id.ToBytes());
  } else {
    commit.mutable_topic()->set_name(tp.topic);
  }
  commit.set_partition(tp.partition.value());
  commit.set_offset(position.offset.value());
  if (position.leader_epoch >= LeaderEpoch(0)) {
    commit.set_leader_epoch(position.leader_epoch.value());
  }
  if (!position.metadata.empty()) commit.set_metadata(position.metadata);
  return commit;
}

absl::Status MadeAgain(const NamedPartition& tp) {
  return MakeError(ErrorCode::kUnknownTopicId, tp,
                   ": its topic was deleted and made again; what was read of "
                   "the old one counts for nothing now");
}

}  // namespace

void GroupMember::Commit(const CommittedPositions& positions,
                         int64_t timeout_us, CommitDone done) {
  Commit(positions, /*begins=*/false, timeout_us, std::move(done));
}

void GroupMember::CommitBegins(const CommittedPositions& positions,
                               int64_t timeout_us, CommitDone done) {
  Commit(positions, /*begins=*/true, timeout_us, std::move(done));
}

void GroupMember::Commit(const CommittedPositions& positions, bool begins,
                         int64_t timeout_us, CommitDone done) {
  const Claim claim = CurrentClaim();
  if (claim.generation == membership::kNoGeneration) {
    return done(MakeError(ErrorCode::kUnknownMemberId,
                          "this consumer is in no generation of group ",
                          options_.group_id, " now; poll, then commit"));
  }
  if (positions.empty()) return done(absl::OkStatus());
  if (commits_.size() >= kCommitsWaitingMax) {
    return done(MakeError(ErrorCode::kBusy, kCommitsWaitingMax,
                          " commits of group ", options_.group_id,
                          " wait already; wait for one to be answered"));
  }
  WaitingCommit commit;
  commit.request.set_group_id(options_.group_id);
  commit.request.set_member_id(claim.member_id);
  commit.request.set_group_instance_id(options_.instance_id);
  commit.request.set_generation_id(claim.generation);
  commit.request.set_administrative(begins);
  for (const auto& [tp, position] : positions) {
    *commit.request.add_offsets() = CommitOf(tp, position);
  }
  commit.positions = std::make_shared<const CommittedPositions>(positions);
  commit.deadline_us = deps_.client.clock->MonoMicros() + timeout_us;
  commit.done = std::move(done);
  commits_.push_back(std::move(commit));
  NextCommit();
}

void GroupMember::NextCommit() {
  if (committing_ || commits_.empty()) return;
  committing_ = true;
  using Call = CoordinatorCall<v1::CommitOffsetsResponse>;
  Call::Question question;
  question.coordinator = [this] { return CoordinatorPeer(); };
  if (MUTANT(kOldReadsRecommitted)) {
    commits_.front().request.set_member_id(member_id());
    commits_.front().request.set_generation_id(generation());
  }
  const v1::CommitOffsetsRequest& request = commits_.front().request;
  question.send = [request](GroupPeer& peer, int64_t timeout_us,
                            PeerReply<v1::CommitOffsetsResponse> reply) {
    peer.CommitOffsets(request, timeout_us, std::move(reply));
  };
  question.judge = [this, alive = std::weak_ptr<bool>(alive_),
                    asked = commits_.front().positions](
                       const v1::CommitOffsetsResponse& response) {
    return alive.expired() ? absl::OkStatus() : Judge(*asked, response);
  };
  question.told = [this, member = request.member_id(),
                   generation =
                       request.generation_id()](const absl::Status& status) {
    Heed(CodeOf(status));
    Do(membership::OffsetsAnswered{member, generation, status});
  };
  question.timeout_us = std::max<int64_t>(
      0, commits_.front().deadline_us - deps_.client.clock->MonoMicros());
  question.lives = alive_;
  question.done = [this, alive = std::weak_ptr<bool>(alive_)](
                      const absl::Status& status,
                      const v1::CommitOffsetsResponse& response) {
    if (alive.expired()) return;
    absl::Status whole = status;
    auto asked = commits_.front().positions->begin();
    for (int i = 0; whole.ok() && i < response.results_size(); ++i, ++asked) {
      if (!StatusOf(response.results(i).error()).ok()) {
        whole = MadeAgain(asked->first);
      }
    }
    OnCommitted(whole);
  };
  Call::Start(deps_.client, deps_.options, std::move(question));
}

bool GroupMember::IsMadeAgain(const NamedPartition& tp,
                              TopicId topic_id) const {
  const MetadataCache::Topic* topic = deps_.metadata->Find(tp.topic);
  return topic_id.is_set() && topic != nullptr && topic->id != topic_id;
}

// One that asking again may help comes first. A topic that was made again is
// settled: whoever knows of the new one never takes offsets of the old one.
absl::Status GroupMember::Judge(
    const CommittedPositions& asked,
    const v1::CommitOffsetsResponse& response) const {
  if (response.results_size() != static_cast<int>(asked.size())) {
    return MakeError(ErrorCode::kUnknownServerError, asked.size(),
                     " offsets were committed, ", response.results_size(),
                     " answered");
  }
  absl::Status worst;
  auto next = asked.begin();
  for (const v1::OffsetCommitResult& result : response.results()) {
    const auto& [tp, position] = *next++;
    const absl::Status status = StatusOf(result.error());
    if (status.ok()) continue;
    if (CodeOf(status) == ErrorCode::kUnknownTopicId &&
        IsMadeAgain(tp, position.topic_id)) {
      continue;
    }
    if (IsRetriableStatus(status)) return status;
    if (worst.ok()) {
      worst = MakeErrorStatus(CodeOf(status),
                              StrCat(tp, ": ", StdView(status.message())));
    }
  }
  return worst;
}

// The broker knows of topics that this client does not, or the other way round.
void GroupMember::Heed(ErrorCode code) {
  if (code == ErrorCode::kUnknownTopicId) deps_.metadata->Refresh();
}

void GroupMember::OnCommitted(const absl::Status& status) {
  committing_ = false;
  WaitingCommit commit = std::move(commits_.front());
  commits_.pop_front();
  const std::weak_ptr<bool> alive = alive_;
  commit.done(status);
  if (!alive.expired()) NextCommit();
}

// By the ids that are known, which go to `names`.
void GroupMember::PutQuery(const std::vector<NamedPartition>& partitions,
                           std::map<std::string, std::string>& names,
                           v1::GroupOffsetsQuery* query) const {
  std::map<std::string, v1::TopicPartitions*> topics;
  for (const NamedPartition& tp : partitions) {
    v1::TopicPartitions*& topic = topics[tp.topic];
    if (topic == nullptr) {
      topic = query->add_topics();
      const MetadataCache::Topic* known = deps_.metadata->Find(tp.topic);
      if (known == nullptr) {
        topic->mutable_topic()->set_name(tp.topic);
      } else {
        topic->mutable_topic()->set_id(known->id.ToBytes());
        names[known->id.ToBytes()] = tp.topic;
      }
    }
    topic->add_partitions(tp.partition.value());
  }
}

void GroupMember::FetchCommitted(const std::vector<NamedPartition>& partitions,
                                 int64_t timeout_us, FetchDone done) {
  const Claim claim = CurrentClaim();
  v1::FetchOffsetsRequest request;
  request.set_require_stable(true);
  v1::GroupOffsetsQuery* query = request.add_groups();
  query->set_group_id(options_.group_id);
  query->set_member_id(claim.member_id);
  if (claim.generation != membership::kNoGeneration) {
    query->set_generation_id(claim.generation);
  }
  // Of each try: a topic may be made again between two.
  const auto names = std::make_shared<std::map<std::string, std::string>>();
  using Call = CoordinatorCall<v1::FetchOffsetsResponse>;
  Call::Question question;
  question.coordinator = [this] { return CoordinatorPeer(); };
  question.send = [this, request, partitions, names](
                      GroupPeer& peer, int64_t left_us,
                      PeerReply<v1::FetchOffsetsResponse> reply) mutable {
    request.mutable_groups(0)->clear_topics();
    PutQuery(partitions, *names, request.mutable_groups(0));
    peer.FetchOffsets(request, left_us, std::move(reply));
  };
  question.judge = [](const v1::FetchOffsetsResponse& answer) {
    if (answer.groups_size() != 1) {
      return MakeError(ErrorCode::kUnknownServerError,
                       "the coordinator answered for ", answer.groups_size(),
                       " groups instead of one");
    }
    absl::Status status = StatusOf(answer.groups(0).error());
    for (const v1::CommittedOffset& offset : answer.groups(0).offsets()) {
      if (status.ok()) status = StatusOf(offset.error());
    }
    return status;
  };
  question.told = [this, claim](const absl::Status& status) {
    Heed(CodeOf(status));
    Do(membership::OffsetsAnswered{claim.member_id, claim.generation, status});
  };
  question.timeout_us = timeout_us;
  question.lives = alive_;
  question.done = [names, done = std::move(done)](
                      const absl::Status& status,
                      const v1::FetchOffsetsResponse& answer) {
    if (!status.ok()) return done(status);
    CommittedPositions committed;
    for (const v1::CommittedOffset& offset : answer.groups(0).offsets()) {
      if (offset.offset() < 0) continue;
      CommittedPosition position{Offset(offset.offset()), kNoLeaderEpoch,
                                 offset.metadata(), TopicId()};
      if (offset.has_leader_epoch()) {
        position.leader_epoch = LeaderEpoch(offset.leader_epoch());
      }
      std::string name = offset.topic().name();
      if (const auto known = names->find(offset.topic().id());
          known != names->end()) {
        name = known->second;
        position.topic_id = *TopicId::FromBytes(known->first);
      }
      committed[{std::move(name), PartitionIndex(offset.partition())}] =
          std::move(position);
    }
    done(std::move(committed));
  };
  Call::Start(deps_.client, deps_.options, std::move(question));
}

}  // namespace sluice
