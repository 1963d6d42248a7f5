// Committed offsets: commit, fetch, delete.
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/topic_refs.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice::coordinator {
namespace {

group::CommitClaim ClaimOf(const v1::CommitOffsetsRequest& request) {
  group::CommitClaim claim;
  claim.member = group::MemberId(request.member_id());
  claim.instance = group::InstanceId(request.group_instance_id());
  claim.stream = group::StreamSecret(request.stream());
  if (request.has_generation_id()) {
    claim.generation = group::Generation(request.generation_id());
  }
  return claim;
}

// Set from outside.
bool ByOperator(const v1::CommitOffsetsRequest& request) {
  return request.administrative() && request.member_id().empty();
}

// A member says where its group begins what it has never read.
bool Begins(const v1::CommitOffsetsRequest& request) {
  return request.administrative() && !request.member_id().empty();
}

absl::Status KeepsOffset(const std::string& group, const TopicPartition& tp) {
  return MakeError(ErrorCode::kInvalidCommitOffset, "group \"", group,
                   "\" has committed an offset of ", tp,
                   " already: it does not begin there; ask where it stands");
}

// What an append's failure is to a member.
absl::Status AsCommitError(const absl::Status& why) {
  switch (CodeOf(why)) {
    case ErrorCode::kNotLeader:
    case ErrorCode::kFencedLeaderEpoch:
    case ErrorCode::kShuttingDown:
      return MakeErrorStatus(ErrorCode::kNotCoordinator,
                             std::string(why.message()));
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kNotEnoughReplicasAfterAppend:
    case ErrorCode::kLeaderNotAvailable:
    case ErrorCode::kReplicaFailed:
      return MakeErrorStatus(ErrorCode::kCoordinatorNotAvailable,
                             std::string(why.message()));
    default: return why;
  }
}

}  // namespace

// ---- Commit ----

struct GroupCoordinator::CommitPlan {
  v1::CommitOffsetsResponse response;
  std::vector<int> places;  // in the response, of each change
  std::vector<Change> changes;
};

ErrorCode GroupCoordinator::CheckCommitter(
    const v1::CommitOffsetsRequest& request,
    const group::GroupCore* core) const {
  if (!ByOperator(request)) {
    return group::CheckCommit(core, ClaimOf(request));
  }
  return group::CheckSeek(core);
}

// INVALID_REQUEST, COORDINATOR_LOAD_IN_PROGRESS: of the whole request.
absl::Status GroupCoordinator::PlanCommit(
    const v1::CommitOffsetsRequest& request, CommitPlan& plan) {
  std::set<TopicPartition> seen;
  const int64_t now_ms = deps_.clock->WallMillis();
  const auto count = static_cast<size_t>(request.offsets_size());
  plan.response.mutable_results()->Reserve(request.offsets_size());
  plan.places.reserve(count);
  plan.changes.reserve(count);
  for (const v1::OffsetCommit& asked : request.offsets()) {
    v1::OffsetCommitResult* result = plan.response.add_results();
    *result->mutable_topic() = asked.topic();
    result->set_partition(asked.partition());
    const auto tp =
        ResolveTopicPartition(replica_->image(), asked.topic(),
                              asked.partition());
    if (!tp.ok()) {
      PutError(tp.status(), result->mutable_error());
      continue;
    }
    if (!seen.insert(*tp).second) {
      return MakeError(ErrorCode::kInvalidRequest, "partition ", *tp,
                       " is committed twice in one call; once is enough");
    }
    offsets::OffsetPut put;
    put.key = {request.group_id(), *tp};
    group::PartitionCommit commit;
    commit.offset = asked.offset();
    if (asked.has_metadata()) commit.metadata = asked.metadata();
    commit.begins = Begins(request);
    if (commit.begins) {
      ASSIGN_OR_RETURN(commit.has_offset, HasOffset(put.key));
    }
    const ErrorCode refused = group::CheckPartitionCommit(commit);
    if (refused != ErrorCode::kNone) {
      commit.has_offset && commit.offset >= 0
          ? PutError(KeepsOffset(request.group_id(), *tp),
                     result->mutable_error())
          : PutError(refused, request.group_id(), result->mutable_error());
      continue;
    }
    put.committed.offset = Offset(asked.offset());
    if (asked.has_leader_epoch() && asked.leader_epoch() >= 0) {
      put.committed.leader_epoch = LeaderEpoch(asked.leader_epoch());
    }
    put.committed.time_ms = now_ms;
    put.committed.origin = ByOperator(request) ? offsets::Origin::kAdmin
                                               : offsets::Origin::kMember;
    if (asked.has_metadata()) put.committed.metadata = asked.metadata();
    put.committed.member = request.member_id();
    plan.places.push_back(plan.response.results_size() - 1);
    plan.changes.push_back(std::move(put));
  }
  return absl::OkStatus();
}

// Or will have one, if nothing fails.
absl::StatusOr<bool> GroupCoordinator::HasOffset(
    const offsets::OffsetKey& key) {
  if (InFlight(key)) return true;
  const auto committed = view_.FindOffset(key);
  if (committed.ok()) return committed->has_value();
  // GR6: what cannot be read now is not "none".
  return RefuseHere(ErrorCode::kCoordinatorLoadInProgress,
                    std::string(committed.status().message()))
      .why;
}

void GroupCoordinator::CommitOffsets(
    const api::CallContext&, v1::CommitOffsetsRequest request,
    PeerReply<v1::CommitOffsetsResponse> reply) {
  const auto refuse = [&](const Refusal& why) {
    v1::CommitOffsetsResponse response;
    PutRefusal(why, request, response);
    reply(std::move(response));
  };
  if (const auto refused = CheckServes(); refused.has_value()) {
    return refuse(*refused);
  }
  if (pending_.size() + parts_waiting_ >= deps_.config.requests_max ||
      pending_bytes_ >= deps_.config.request_bytes_max) {
    return refuse(RefuseHere(ErrorCode::kBusy,
                             StrCat(parts_waiting_, " commits wait with ",
                                    pending_bytes_, " bytes; try again")));
  }
  const std::string group = request.group_id();
  const auto known = FindKnown(group);
  if (!known.ok()) return refuse({known.status(), {}});
  const bool is_new = *known == nullptr;
  // The step that appends is this one (GR1).
  const ErrorCode committer = CheckCommitter(request, *known);
  if (committer != ErrorCode::kNone) {
    LetGo(group);
    v1::Error error;
    PutError(committer, group, &error);
    return refuse({MakeErrorStatus(committer, error.message()), {}});
  }
  CommitPlan plan;
  if (const absl::Status why = PlanCommit(request, plan); !why.ok()) {
    LetGo(group);
    return refuse({why, {}});
  }
  if (plan.changes.empty()) {
    LetGo(group);
    return reply(std::move(plan.response));
  }
  std::vector<Change> changes;
  changes.reserve(plan.changes.size() + 1);
  // Whoever has offsets is a group that can be listed and deleted.
  if (is_new) {
    const StoredGroup fresh{group::GroupImage(), deps_.clock->WallMillis()};
    changes.push_back(offsets::GroupPut{group, EncodeGroup(fresh)});
  }
  changes.insert(changes.end(), plan.changes.begin(), plan.changes.end());
  const bool by_member = !request.member_id().empty();
  const group::MemberId member(request.member_id());
  AppendChanges(
      std::move(changes), now_us() + deps_.config.commit_timeout_us,
      [this, plan = std::move(plan),
       reply = std::move(reply)](const absl::Status& status) mutable {
        FinishCommit(status, plan);
        reply(std::move(plan.response));
      });
  if (by_member) StepGroup(group, group::CommitAccepted{member, now_us()});
  LetGo(group);
}

void GroupCoordinator::FinishCommit(const absl::Status& status,
                                    CommitPlan& plan) {
  if (status.ok()) {
    ++deps_.counters->commits;
    deps_.counters->offsets_committed +=
        static_cast<int64_t>(plan.places.size());
    return WatchLag(plan.changes);
  }
  const absl::Status why = AsCommitError(status);
  for (const int place : plan.places) {
    PutError(why, plan.response.mutable_results(place)->mutable_error());
  }
  if (CodeOf(why) == ErrorCode::kNotCoordinator) {
    PutHint(replica_->leader_hint(), plan.response.mutable_coordinator());
  }
}

void GroupCoordinator::WatchLag(const std::vector<Change>& committed) {
  const bool first = lag_windows_.empty();
  for (const Change& change : committed) {
    const auto& put = std::get<offsets::OffsetPut>(change);
    lag_windows_.NoteCommit(put.key, put.committed.offset,
                            put.committed.time_ms);
  }
  if (first && deps_.on_watch) deps_.on_watch();
}

// ---- Fetch ----

ErrorCode GroupCoordinator::CheckReader(const v1::GroupOffsetsQuery& query,
                                        const group::GroupCore* core) const {
  const ErrorCode dead = group::CheckFetch(core);
  if (dead != ErrorCode::kNone || query.member_id().empty()) return dead;
  if (core == nullptr) return ErrorCode::kUnknownMemberId;
  const ErrorCode member = core->CheckMember(
      group::MemberId(query.member_id()), group::InstanceId());
  if (member != ErrorCode::kNone) return member;
  const bool current =
      !query.has_generation_id() ||
      group::Generation(query.generation_id()) == core->generation();
  return current ? ErrorCode::kNone : ErrorCode::kIllegalGeneration;
}

namespace {

void PutCommitted(const std::optional<offsets::CommittedOffset>& committed,
                  v1::CommittedOffset* out) {
  out->set_offset(-1);
  if (!committed.has_value()) return;
  out->set_offset(committed->offset.value());
  if (committed->leader_epoch != kNoLeaderEpoch) {
    out->set_leader_epoch(committed->leader_epoch.value());
  }
  if (committed->metadata.has_value()) {
    out->set_metadata(*committed->metadata);
  }
  out->set_commit_time_ms(committed->time_ms);
}

}  // namespace

v1::GroupOffsets GroupCoordinator::FetchOffsets(
    const v1::GroupOffsetsQuery& query) {
  v1::GroupOffsets out;
  out.set_group_id(query.group_id());
  if (const auto refused = CheckServes(); refused.has_value()) {
    PutRefusal(*refused, out);
    return out;
  }
  const auto loaded = groups_.find(query.group_id());
  const group::GroupCore* core =
      loaded == groups_.end() ? nullptr : loaded->second.core.get();
  if (core == nullptr && !query.member_id().empty()) {
    const auto known = FindKnown(query.group_id());
    if (!known.ok()) {
      PutError(known.status(), out.mutable_error());
      return out;
    }
    core = *known;
  }
  const ErrorCode refused = CheckReader(query, core);
  LetGo(query.group_id());
  if (refused != ErrorCode::kNone) {
    PutError(refused, query.group_id(), out.mutable_error());
    return out;
  }
  PutOffsets(query, out);
  return out;
}

v1::GroupOffsets GroupCoordinator::FetchOwnView(
    const v1::GroupOffsetsQuery& query) {
  v1::GroupOffsets out;
  out.set_group_id(query.group_id());
  if (closed_ || replica_ == nullptr || !view_.usable()) {
    PutRefusal(RefuseHere(ErrorCode::kCoordinatorLoadInProgress,
                          "its view cannot be read now; try again"),
               out);
    return out;
  }
  out.set_applied_offset(view_.applied().next.value());
  PutOffsets(query, out);
  return out;
}

void GroupCoordinator::PutOffsets(const v1::GroupOffsetsQuery& query,
                                  v1::GroupOffsets& out) {
  const absl::Status fetched = query.topics().empty() ? FetchAll(query, out)
                                                      : FetchSome(query, out);
  if (!fetched.ok() && !MUTANT(kUnreadableIsNone)) {
    out.clear_offsets();
    // GR6: what cannot be read now is not "none".
    PutError(RefuseHere(ErrorCode::kCoordinatorLoadInProgress,
                        std::string(fetched.message()))
                 .why,
             out.mutable_error());
  }
}

// Offsets of topics that are gone are on their way out.
absl::Status GroupCoordinator::FetchAll(const v1::GroupOffsetsQuery& query,
                                        v1::GroupOffsets& out) {
  const MetadataImage& image = replica_->image();
  return view_.ScanOffsets(
      query.group_id(), [&](const offsets::OffsetKey& key,
                            const offsets::CommittedOffset& committed) {
        const TopicImage* topic = image.FindTopic(key.partition.topic_id);
        if (topic == nullptr) return true;
        v1::CommittedOffset* found = out.add_offsets();
        found->mutable_topic()->set_name(topic->name);
        found->set_partition(key.partition.partition.value());
        PutCommitted(committed, found);
        return true;
      });
}

absl::Status GroupCoordinator::FetchSome(const v1::GroupOffsetsQuery& query,
                                         v1::GroupOffsets& out) {
  const MetadataImage& image = replica_->image();
  for (const v1::TopicPartitions& asked : query.topics()) {
    const auto topic = ResolveTopicRef(image, asked.topic());
    std::vector<int32_t> partitions(asked.partitions().begin(),
                                    asked.partitions().end());
    if (topic.ok() && partitions.empty()) {
      for (int32_t p = 0;
           p < static_cast<int32_t>((*topic)->partitions.size()); ++p) {
        partitions.push_back(p);
      }
    }
    if (!topic.ok() && partitions.empty()) partitions.push_back(-1);
    for (const int32_t partition : partitions) {
      v1::CommittedOffset* found = out.add_offsets();
      *found->mutable_topic() = asked.topic();
      found->set_partition(partition);
      found->set_offset(-1);
      const absl::Status exists =
          !topic.ok()
              ? topic.status()
              : CheckPartitionOf(**topic, partition);
      if (!exists.ok()) {
        PutError(exists, found->mutable_error());
        continue;
      }
      ASSIGN_OR_RETURN(
          const auto committed,
          view_.FindOffset({query.group_id(),
                            {(*topic)->id, PartitionIndex(partition)}}));
      PutCommitted(committed, found);
    }
  }
  return absl::OkStatus();
}

// ---- Delete ----

void GroupCoordinator::DeleteOffsets(
    const api::CallContext&, v1::DeleteOffsetsRequest request,
    PeerReply<v1::DeleteOffsetsResponse> reply) {
  auto response = std::make_shared<v1::DeleteOffsetsResponse>();
  const auto refuse = [&](const Refusal& why) {
    PutRefusal(why, *response);
    reply(std::move(*response));
  };
  if (const auto refused = CheckServes(); refused.has_value()) {
    return refuse(*refused);
  }
  const std::string group = request.group_id();
  const auto known = FindKnown(group);
  if (!known.ok()) return refuse({known.status(), {}});
  std::vector<Change> changes;
  absl::Status failed;
  for (const v1::TopicPartitions& asked : request.topics()) {
    if (failed.ok()) {
      failed = PlanRemoval(group, *known, asked, *response, changes);
    }
  }
  LetGo(group);
  if (!failed.ok()) {
    response->clear_results();
    return refuse({failed, {}});
  }
  if (changes.empty()) return reply(std::move(*response));
  AppendChanges(changes, now_us() + deps_.config.commit_timeout_us,
                [response, reply = std::move(reply)](
                    const absl::Status& status) mutable {
                  if (!status.ok()) {
                    response->clear_results();
                    PutError(AsCommitError(status), response->mutable_error());
                  }
                  reply(std::move(*response));
                });
}

// Of one topic that is named.
absl::Status GroupCoordinator::PlanRemoval(
    const std::string& group, const group::GroupCore* core,
    const v1::TopicPartitions& asked, v1::DeleteOffsetsResponse& response,
    std::vector<Change>& changes) {
  const auto add = [&](int32_t partition) {
    v1::OffsetCommitResult* result = response.add_results();
    *result->mutable_topic() = asked.topic();
    result->set_partition(partition);
    return result;
  };
  const auto topic = ResolveTopicRef(replica_->image(), asked.topic());
  if (!topic.ok()) {
    PutError(topic.status(), add(-1)->mutable_error());
    return absl::OkStatus();
  }
  std::set<int32_t> wanted(asked.partitions().begin(),
                           asked.partitions().end());
  std::set<int32_t> has;
  RETURN_IF_ERROR(view_.ScanOffsets(
      group, [&](const offsets::OffsetKey& key,
                 const offsets::CommittedOffset&) {
        if (key.partition.topic_id == (*topic)->id) {
          has.insert(key.partition.partition.value());
        }
        return true;
      }));
  const ErrorCode refused =
      group::CheckDeleteOffsets(core, !has.empty(), (*topic)->name);
  if (refused == ErrorCode::kGroupIdNotFound ||
      refused == ErrorCode::kNonEmptyGroup) {
    v1::Error error;
    PutError(refused, group, &error);
    return MakeErrorStatus(refused, error.message());
  }
  if (wanted.empty()) wanted = has;
  for (const int32_t partition : wanted) {
    v1::OffsetCommitResult* result = add(partition);
    if (refused != ErrorCode::kNone) {
      PutError(refused, group, result->mutable_error());
    } else if (has.contains(partition)) {
      changes.push_back(offsets::OffsetGone{
          {group, {(*topic)->id, PartitionIndex(partition)}}});
    }
  }
  return absl::OkStatus();
}

}  // namespace sluice::coordinator
