// GR1-GR8: histories by hand that break each, and some that only look like it.
#include "test/check/group_invariants.h"

#include "common/base/bytes.h"
#include "common/consumer/consumer_protocol.h"
#include "controller/metadata/internal_topics.h"
#include "storage/mem_kv_store.h"
#include "test/check/check_testing.h"

namespace sluice::check {
namespace {

using group::GroupState;

const TopicPartition kOffsets{TopicId(Uuid(8, 8)), PartitionIndex(0)};
constexpr char kGroup[] = "g";

// One group, whose log is one partition; broker 1 coordinates it.
class GroupInvariantsTest : public CheckTest {
 protected:
  void SetUp() override {
    CheckTest::SetUp();
    CreateOffsetsTopic();
    ReplicaView& leading = node(1).replicas[kOffsets];
    leading.hosted = leading.leads = true;
    leading.leader = NodeId(1);
    leading.leader_epoch = LeaderEpoch(0);
  }

  GroupMoment Now() { return groups_.Arrived(NodeId(1), kGroup); }

  void CreateOffsetsTopic() {
    Batch batch;
    auto* topic = batch.add_records()->mutable_topic();
    topic->set_name(kConsumerOffsetsTopic);
    topic->set_id(kOffsets.topic_id.ToBytes());
    topic->set_kind(internal::v1::TopicRecord::KIND_INTERNAL);
    PartitionImage partition;
    partition.replicas = {NodeId(1), NodeId(2), NodeId(3)};
    partition.directories.resize(3);
    partition.isr = partition.last_full_isr = partition.replicas;
    partition.leader = NodeId(1);
    *batch.add_records()->mutable_partition() = ToRecord(kOffsets, partition);
    Commit(batch);
  }

  // ---- The log ----

  void Log(coordinator::Change change, int epoch = 0) {
    offsets::ViewBatch batch;
    batch.base = groups_.folded(kOffsets);
    batch.next = batch.base.Next();
    batch.epoch = LeaderEpoch(epoch);
    batch.records.push_back({batch.base, std::move(change)});
    groups_.OnCommitted(kOffsets, batch, batch.epoch);
  }
  struct M {
    std::string id;
    std::string instance;
    std::vector<int> partitions;
  };
  void LogGroup(GroupState state, int generation, const std::vector<M>& members,
                int epoch = 0) {
    coordinator::StoredGroup stored;
    stored.image.state = state;
    stored.image.generation = group::Generation(generation);
    stored.image.protocol_type = "consumer";
    stored.image.protocol_name = members.empty() ? "" : "range";
    for (const M& m : members) {
      group::MemberImage member;
      member.id = group::MemberId(m.id);
      member.instance = group::InstanceId(m.instance);
      member.session_timeout_us = member.rebalance_timeout_us = 1;
      member.protocols = {
          {"range", consumer::EncodeSubscription({.topics = {"t"}})}};
      member.assignment = AssignmentOf(m.partitions);
      stored.image.members.push_back(member);
    }
    if (!members.empty()) stored.image.leader = stored.image.members[0].id;
    Log(offsets::GroupPut{kGroup, coordinator::EncodeGroup(stored)}, epoch);
  }
  static std::string AssignmentOf(const std::vector<int>& partitions) {
    consumer::Assignment assignment;
    for (const int p : partitions) {
      assignment.partitions.push_back({"t", PartitionIndex(p)});
    }
    return consumer::EncodeAssignment(assignment);
  }
  static offsets::OffsetKey Key() { return {kGroup, kTp}; }
  // As it comes into the log when `member` commits it.
  void LogOffset(int64_t offset, const std::string& member = "", int epoch = 0) {
    offsets::OffsetPut put{Key(), {}};
    put.committed.offset = Offset(offset);
    put.committed.member = member;
    Log(put, epoch);
  }
  void Stable(int generation, const std::vector<M>& members) {
    LogGroup(GroupState::kCompleting, generation, members);
    LogGroup(GroupState::kStable, generation, members);
  }

  // ---- Calls ----

  static v1::CommitOffsetsRequest CommitOf(int64_t offset,
                                           const std::string& member = "",
                                           int generation = -1,
                                           const std::string& instance = "") {
    v1::CommitOffsetsRequest request;
    request.set_group_id(kGroup);
    request.set_member_id(member);
    request.set_group_instance_id(instance);
    if (generation >= 0) request.set_generation_id(generation);
    auto* commit = request.add_offsets();
    offset % 2 == 0 ? commit->mutable_topic()->set_id(kTp.topic_id.ToBytes())
                    : commit->mutable_topic()->set_name("t");
    commit->set_offset(offset);
    return request;
  }
  // Asked, stored, acknowledged.
  void CommitWhole(int64_t offset, int epoch = 0) {
    const auto request = CommitOf(offset);
    groups_.OnSent(request);
    const GroupMoment asked = Now();
    LogOffset(offset, "", epoch);
    Acknowledge(asked, request);
  }
  void Acknowledge(const GroupMoment& asked,
                   const v1::CommitOffsetsRequest& request) {
    v1::CommitOffsetsResponse response;
    response.add_results();
    groups_.OnAnswered(asked, request, response);
  }
  void Read(const GroupMoment& asked, int64_t offset) {
    v1::GroupOffsetsQuery query;
    query.set_group_id(kGroup);
    auto* topic = query.add_topics();
    topic->mutable_topic()->set_name("t");
    topic->add_partitions(0);
    v1::GroupOffsets answer;
    auto* one = answer.add_offsets();
    one->mutable_topic()->set_name("t");
    one->set_offset(offset);
    groups_.OnAnswered(asked, query, answer);
  }
  void ReadNow(int64_t offset) { Read(Now(), offset); }
  void AnswerJoin(const GroupMoment& asked, const std::string& member,
                  int generation) {
    v1::JoinGroupRequest request;
    request.set_group_id(kGroup);
    v1::JoinGroupResponse response;
    response.set_member_id(member);
    response.set_generation_id(generation);
    groups_.OnAnswered(asked, request, response);
  }
  void JoinNow(const std::string& member, int generation) {
    AnswerJoin(Now(), member, generation);
  }
  void SyncNow(const std::string& member, int generation,
               const std::vector<int>& given) {
    v1::SyncGroupRequest request;
    request.set_group_id(kGroup);
    request.set_member_id(member);
    request.set_generation_id(generation);
    v1::SyncGroupResponse response;
    response.set_assignment(AssignmentOf(given));
    groups_.OnAnswered(Now(), request, response);
  }
  void BeatNow(const std::string& member, const std::string& instance) {
    v1::HeartbeatRequest request;
    request.set_group_id(kGroup);
    request.set_member_id(member);
    request.set_group_instance_id(instance);
    groups_.OnAnswered(Now(), request, v1::HeartbeatResponse());
  }

  // ---- Views ----

  static std::string Prefix() {
    std::string prefix = "o\x01" + kOffsets.topic_id.ToBytes();
    PutBig32(prefix, 0);
    return prefix;
  }
  void Store(const std::string& key, const std::string& value) {
    KvBatch batch;
    batch.Put(Prefix() + key, value);
    EXPECT_TRUE(store_.Write(batch, KvStore::Sync::kNo).ok());
  }
  void StoreMark(int64_t next, int epoch = 0) {
    Store(offsets::AppliedKey(),
          offsets::EncodeApplied({Offset(next), LeaderEpoch(epoch)}));
  }
  void StoreOffset(int64_t offset, int64_t record) {
    offsets::CommittedOffset committed;
    committed.offset = Offset(offset);
    committed.record_offset = Offset(record);
    Store(offsets::EncodeOffsetKey(Key()),
          offsets::EncodeCommittedOffset(committed));
  }

  GroupInvariants groups_{&findings_, &cluster_};
  MemKvStore store_;
};

using GR = GroupInvariantsTest;

// ---- GR1 ----

TEST_F(GR, GR1AMemberCommitsInItsGeneration) {
  Stable(3, {{"m", "", {0}}});
  groups_.OnSent(CommitOf(7, "m", 3));
  LogOffset(7, "m");
  ExpectNone();
  EXPECT_GT(findings_.evaluations(Rule::kGR1), 0u);
}

TEST_F(GR, GR1NotInAnOlderOne) {
  Stable(3, {{"m", "", {0}}});
  Stable(4, {{"m", "", {0}}});
  groups_.OnSent(CommitOf(7, "m", 3));
  LogOffset(7, "m");
  ExpectFound(Rule::kGR1);
}

TEST_F(GR, GR1NorWhoIsNoMember) {
  Stable(3, {{"m", "", {0}}});
  groups_.OnSent(CommitOf(7, "x", 3));
  LogOffset(7, "x");
  ExpectFound(Rule::kGR1);
}

TEST_F(GR, GR1FromOutsideOnlyWhileTheGroupIsEmpty) {
  CommitWhole(5);
  LogGroup(GroupState::kEmpty, 4, {});
  CommitWhole(6);
  ExpectNone();
  Stable(5, {{"m", "", {0}}});
  CommitWhole(7);
  ExpectFound(Rule::kGR1);
}

// ---- GR2, GR6 ----

TEST_F(GR, GR2WhatIsAcknowledgedIsInTheLog) {
  CommitWhole(5);
  ReadNow(5);
  ExpectNone();
  Acknowledge(Now(), CommitOf(6));
  ExpectFound(Rule::kGR2);
}

TEST_F(GR, GR2AnOlderOneIsAnother) {
  CommitWhole(5);
  Acknowledge(Now(), CommitOf(5));
  ExpectFound(Rule::kGR2);
}

TEST_F(GR, GR2NothingOlderIsRead) {
  CommitWhole(5);
  CommitWhole(6);
  ReadNow(6);
  ExpectNone();
  ReadNow(5);
  ExpectFound(Rule::kGR2);
}

TEST_F(GR, GR2WhatWasReadIsNotUndoneEither) {
  CommitWhole(5);
  LogOffset(6);  // stored, not acknowledged
  ReadNow(5);
  ReadNow(6);
  ExpectNone();
  ReadNow(5);
  ExpectFound(Rule::kGR2);
}

TEST_F(GR, GR2ReadWhileItWasCommitted) {
  CommitWhole(5);
  const GroupMoment asked = Now();
  CommitWhole(6);
  Read(asked, 5);
  Read(asked, 6);
  ExpectNone();
  Read(asked, 7);
  ExpectFound(Rule::kGR2);
}

TEST_F(GR, GR2AZombieKnowsWhatItsOwnEpochCommitted) {
  CommitWhole(5);
  CommitWhole(6, /*epoch=*/1);  // acknowledged by another leader
  const GroupMoment asked = Now();
  Read(asked, 5);
  ExpectNone();
  Read(asked, -1);
  ExpectFound(Rule::kGR6);
}

TEST_F(GR, GR6NoOffsetWhereThereIsOne) {
  ReadNow(-1);
  CommitWhole(5);
  ExpectNone();
  ReadNow(-1);
  ExpectFound(Rule::kGR6);
}

TEST_F(GR, GR6NoOffsetWhereItWasRemoved) {
  CommitWhole(5);
  v1::DeleteGroupsRequest removal;
  removal.add_group_ids(kGroup);
  groups_.OnSent(removal);
  Log(offsets::OffsetGone{Key()});
  ReadNow(-1);
  ExpectNone();
}

TEST_F(GR, GR6NotEvenWhenAllIsAskedFor) {
  CommitWhole(5);
  v1::GroupOffsetsQuery all;
  all.set_group_id(kGroup);
  groups_.OnAnswered(Now(), all, v1::GroupOffsets());
  ExpectFound(Rule::kGR6);
}

TEST_F(GR, GR6ABrokerThatCoordinatesNothingIsNotJudged) {
  CommitWhole(5);
  Read(groups_.Arrived(NodeId(2), kGroup), -1);
  ExpectNone();
}

// ---- GR3 ----

TEST_F(GR, GR3OneOwner) {
  Stable(1, {{"a", "", {0}}, {"b", "", {1}}});
  SyncNow("a", 1, {0});
  ExpectNone();
  LogGroup(GroupState::kCompleting, 2, {{"a", "", {}}, {"b", "", {}}});
  LogGroup(GroupState::kStable, 2, {{"a", "", {0}}, {"b", "", {0}}});
  ExpectFound(Rule::kGR3);
}

TEST_F(GR, GR3OneAssignmentAGeneration) {
  Stable(1, {{"a", "", {0}}, {"b", "", {1}}});
  LogGroup(GroupState::kStable, 1, {{"a", "", {1}}, {"b", "", {0}}});
  ExpectFound(Rule::kGR3);
}

// Under its instance id a member comes again, and has what it had.
TEST_F(GR, GR3AStaticMemberKeepsItsPartitions) {
  Stable(1, {{"a", "i", {0}}, {"b", "", {1}}});
  LogGroup(GroupState::kStable, 1, {{"a2", "i", {0}}, {"b", "", {1}}});
  ExpectNone();
}

TEST_F(GR, GR3AMemberIsGivenWhatTheLogSays) {
  Stable(1, {{"a", "", {0}}});
  SyncNow("a", 1, {1});
  ExpectFound(Rule::kGR3);
}

TEST_F(GR, GR3TwoProcessesHaveAPartitionInTurn) {
  const std::set<consumer::NamedPartition> tp = {{"t", PartitionIndex(0)}};
  groups_.OnOwned("static", 4, "i", 1, tp);
  groups_.OnOwned("static", 5, "i", 1, tp);  // the older one is fenced soon
  groups_.OnOwned(kGroup, 1, "", 1, tp);
  groups_.OnOwned(kGroup, 2, "", 2, tp);  // the first one has not noticed yet
  groups_.OnOwned(kGroup, 1, "", -1, tp);
  groups_.OnOwned("other", 3, "", 2, tp);
  ExpectNone();
  groups_.OnOwned(kGroup, 1, "", 2, tp);
  ExpectFound(Rule::kGR3);
}

// ---- GR4 ----

TEST_F(GR, GR4GenerationsRise) {
  Stable(1, {{"a", "", {0}}});
  Stable(2, {{"a", "", {0}}});
  LogGroup(GroupState::kEmpty, 3, {});
  ExpectNone();
  LogGroup(GroupState::kCompleting, 3, {{"a", "", {}}});
  ExpectFound(Rule::kGR4);
}

TEST_F(GR, GR4AGenerationIsToldWhenItIsInTheLog) {
  LogGroup(GroupState::kCompleting, 1, {{"a", "", {}}});
  JoinNow("a", 1);
  ExpectNone();
  JoinNow("a", 2);
  ExpectFound(Rule::kGR4);
}

TEST_F(GR, GR4NoOlderOneThanWasTold) {
  Stable(1, {{"a", "", {0}}});
  JoinNow("a", 1);
  const GroupMoment before = Now();
  LogGroup(GroupState::kCompleting, 2, {{"a", "", {}}});
  JoinNow("a", 2);
  AnswerJoin(before, "a", 1);  // it was asked before
  ExpectNone();
  JoinNow("a", 1);
  ExpectFound(Rule::kGR4);
}

// ---- GR5 ----

// Such a record nobody can read.
TEST_F(GR, GR5OneMemberAnInstance) {
  LogGroup(GroupState::kCompleting, 1, {{"a", "i", {}}, {"b", "i", {}}});
  ExpectFound(Rule::kGR7);
}

TEST_F(GR, GR5TheOlderOneIsFenced) {
  Stable(1, {{"a", "i", {0}}});
  BeatNow("a", "i");
  LogGroup(GroupState::kStable, 1, {{"b", "i", {0}}});
  BeatNow("a", "i");  // nobody was told of the newer one yet
  JoinNow("b", 1);
  BeatNow("b", "i");
  ExpectNone();
  BeatNow("a", "i");
  ExpectFound(Rule::kGR5);
}

// ---- GR7 ----

TEST_F(GR, GR7AViewIsAReplay) {
  groups_.CheckView(node(1), kOffsets, store_);
  CommitWhole(5);
  groups_.CheckView(node(1), kOffsets, store_);  // it may lag
  StoreOffset(5, 0);
  StoreMark(1);
  groups_.CheckView(node(1), kOffsets, store_);
  groups_.CheckConverged(node(1), kOffsets, store_);
  ExpectNone();
  StoreOffset(4, 0);
  groups_.CheckView(node(1), kOffsets, store_);
  ExpectFound(Rule::kGR7);
}

TEST_F(GR, GR7TheMarkIsInTheSameWrite) {
  CommitWhole(5);
  StoreOffset(5, 0);
  groups_.CheckView(node(1), kOffsets, store_);
  ExpectFound(Rule::kGR7);
}

TEST_F(GR, GR7TheMarkNamesTheEpoch) {
  CommitWhole(5);
  StoreOffset(5, 0);
  StoreMark(1, /*epoch=*/3);
  groups_.CheckView(node(1), kOffsets, store_);
  ExpectFound(Rule::kGR7);
}

TEST_F(GR, GR7NothingBeyondTheHighWatermarkOrTheDisk) {
  ReplicaView view;
  view.high_watermark = view.durable_leo = Offset(3);
  StoreMark(3);
  groups_.CheckApplied(node(1), kOffsets, view, store_);
  ExpectNone();
  view.durable_leo = Offset(2);
  groups_.CheckApplied(node(1), kOffsets, view, store_);
  ExpectFound(Rule::kGR7);
}

TEST_F(GR, GR7InTheEndAllIsApplied) {
  CommitWhole(5);
  groups_.CheckConverged(node(1), kOffsets, store_);
  ExpectFound(Rule::kGR7);
}

// ---- GR8 ----

TEST_F(GR, GR8NothingGoesByItself) {
  CommitWhole(5);
  Log(offsets::OffsetGone{Key()});
  ExpectFound(Rule::kGR8);
}

TEST_F(GR, GR8WhatIsUnusedExpiresWhereThatIsConfigured) {
  cluster_.configs = *ConfigRegistry::Make({{kOffsetsRetentionMinutes, "1"}});
  CommitWhole(5);
  Log(offsets::OffsetGone{Key()});
  ExpectNone();
  CommitWhole(6);
  Stable(1, {{"a", "", {0}}});
  Log(offsets::OffsetGone{Key()});
  ExpectFound(Rule::kGR8);
}

TEST_F(GR, GR8WhatWasAskedToGoMayGo) {
  CommitWhole(5);
  v1::DeleteOffsetsRequest request;
  request.set_group_id(kGroup);
  groups_.OnSent(request);
  Log(offsets::OffsetGone{Key()});
  ExpectNone();
}

}  // namespace
}  // namespace sluice::check
