// correctness.md 3.4, F60: whatever processes say to each other comes a second
// time, or late.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"
#include "test/scenario/group_calls_testing.h"
#include "test/scenario/scenario.h"
#include "test/sim/sim_load.h"

namespace sluice::scenario {
namespace {

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kAdminTimeoutUs = 10'000'000;
// A client whose one message is late waits out its own time first.
constexpr int64_t kPatienceMs = 90'000;

// ---- Which messages ----

// A kind that a script leaves out, and why.
struct LeftOut {
  MessageKind kind;
  std::string_view why;
};

// The beginning and the end of a stream are said by processes and kernels; a
// stream has its messages once and in order, as TCP has.
constexpr LeftOut kOfStreams[] = {
    {MessageKind::kStreamOpen, "said by the network"},
    {MessageKind::kStreamEnd, "said by the network"},
    {MessageKind::kLiveness, "of a stream"},
    {MessageKind::kLivenessReply, "of a stream"},
    {MessageKind::kFollowMetadata, "of a stream"},
    {MessageKind::kMetadataRecords, "of a stream"},
    {MessageKind::kFollowerFrame, "of a stream"},
    {MessageKind::kLeaderFrame, "of a stream"},
    {MessageKind::kProduceStream, "of a stream; F67 sends it again"},
    {MessageKind::kProduceStreamReply, "of a stream"},
    {MessageKind::kWatchMetadata, "of a stream"},
    {MessageKind::kWatchMetadataReply, "of a stream"},
};

// Nobody says these here.
constexpr LeftOut kUnsaid[] = {
    {MessageKind::kRaftObserve, "every controller here is a voter"},
    {MessageKind::kProduce, "the client library speaks the stream"},
    {MessageKind::kProduceReply, "the client library speaks the stream"},
    {MessageKind::kReportReplicas, "no election waits for what a log holds"},
    {MessageKind::kReportReplicasReply, "no election waits for it"},
    {MessageKind::kSubscribe, "the client library polls; seeds subscribe"},
    {MessageKind::kSubscribeReply, "the client library polls"},
    {MessageKind::kConsume, "the client library joins by itself; seeds consume"},
    {MessageKind::kConsumeReply, "the client library joins by itself"},
    {MessageKind::kStreamHalfClose, "of clients of Consume alone"},
    {MessageKind::kOffsetForLeaderEpoch, "brokers hand it on; nobody asks"},
    {MessageKind::kOffsetForLeaderEpochReply, "nobody asks"},
};

// Raft's messages between two controllers are in order: what follows one that
// is held waits behind it, and without that link nobody may be elected while a
// third controller stands still, nor a cluster begin.
constexpr LeftOut kHoldsTheCluster[] = {
    {MessageKind::kBootstrapProbe, "a cluster begins with every voter's word"},
    {MessageKind::kRaftPreVoteReply, "one of two that are left cannot hear"},
};

template <size_t N>
bool IsIn(const LeftOut (&list)[N], MessageKind kind) {
  return std::any_of(std::begin(list), std::end(list),
                     [&](const LeftOut& left) { return left.kind == kind; });
}

bool IsOfRaft(MessageKind kind) { return kind < MessageKind::kHello; }

// Whoever asked is answered once; a second answer has nobody to hear it.
bool IsAnswer(MessageKind kind) {
  return !IsOfRaft(kind) && sim::NameOf(kind).ends_with("Reply");
}

// What follows such a message waits behind it, and nothing else does.
bool IsOfClientStream(MessageKind kind) {
  return kind == MessageKind::kProduceStream ||
         kind == MessageKind::kProduceStreamReply ||
         kind == MessageKind::kWatchMetadata ||
         kind == MessageKind::kWatchMetadataReply;
}

template <class Left>
std::vector<MessageKind> AllBut(Left left) {
  std::vector<MessageKind> kinds;
  for (const MessageKind kind : {
#define X(name) MessageKind::k##name,
           SLUICE_MESSAGE_KINDS(X)
#undef X
       }) {
    if (!IsIn(kUnsaid, kind) && !left(kind)) kinds.push_back(kind);
  }
  return kinds;
}

std::string NameOfKind(const testing::TestParamInfo<MessageKind>& info) {
  return std::string(sim::NameOf(info.param));
}

// Held, nothing is deleted: its asker gave up.
bool Deletes(MessageKind kind) {
  return kind == MessageKind::kDeleteTopics ||
         kind == MessageKind::kForwardDeleteTopics;
}

bool Creates(MessageKind kind) {
  return kind == MessageKind::kCreateTopics ||
         kind == MessageKind::kForwardCreateTopics;
}

// The offsets of groups, which this cluster has, too, are small.
ScenarioOptions OnePartitionOfOffsets() {
  return {.settings = {{kOffsetsTopicNumPartitions, "1"}}};
}

// ---- What is said ----

// Every call of the admin client, about `t` and a topic that comes and goes.
class AdminCalls {
  auto Answered() {
    ++asked_;
    return [this](const auto&) { ++answered_; };
  }

 public:
  AdminCalls(Scenario* s, Tp t)
      : s_(*s), t_(std::move(t)), client_(&s->sim(), {}, Latest()) {}

  void Make() {
    v1::CreateTopicsRequest create;
    auto* other = create.add_topics();
    other->set_name("other");
    other->set_partition_count(1);
    other->set_replication_factor(3);
    client_.admin().CreateTopics(create, kAdminTimeoutUs, Answered());
    UntilAnswered();
  }
  void SayTheRest() {
    auto& admin = client_.admin();
    admin.ListTopics({}, kAdminTimeoutUs, Answered());
    v1::DescribeTopicsRequest describe;
    describe.add_topics()->set_name(t_.topic);
    admin.DescribeTopics(describe, kAdminTimeoutUs, Answered());
    admin.DescribeCluster(kAdminTimeoutUs, Answered());
    admin.GetMetadata({}, kAdminTimeoutUs, Answered());
    admin.DescribeQuorum(kAdminTimeoutUs, Answered());
    v1::CreatePartitionsRequest more;
    auto* grown = more.add_topics();
    grown->mutable_topic()->set_name("other");
    grown->set_total_count(2);
    admin.CreatePartitions(more, kAdminTimeoutUs, Answered());
    SayConfigs();
    v1::ElectLeadersRequest elect;
    elect.set_kind(v1::ElectLeadersRequest::KIND_PREFERRED);
    elect.add_topics()->mutable_topic()->set_name(t_.topic);
    admin.ElectLeaders(elect, kAdminTimeoutUs, Answered());
    v1::ResetReplicaRequest reset;  // refused: its log is sound
    reset.mutable_topic()->set_name(t_.topic);
    reset.set_broker_id(s_.Committed(t_).replicas.at(1).value());
    admin.ResetReplica(reset, kAdminTimeoutUs, Answered());
    const NamedPartition partition{t_.topic, PartitionIndex(t_.partition)};
    client_.ListOffsets({partition}, api::OffsetPosition::kLatest,
                        kAdminTimeoutUs, Answered());
    client_.DeleteRecords({{partition, Offset(1)}}, kAdminTimeoutUs,
                          Answered());
    client_.InitProducerId(s_.Committed(t_).leader, kAdminTimeoutUs,
                           Answered());
    v1::DeleteTopicsRequest remove;
    remove.add_topics()->set_name("other");
    admin.DeleteTopics(remove, kAdminTimeoutUs, Answered());
    UntilAnswered();
  }
  void Read() {
    client_.consumer().Assign({{t_.topic, PartitionIndex(t_.partition)}});
    client_.consumer().Poll(100'000, 1 << 20, Answered());
    UntilAnswered();
  }

 private:
  static ConsumerOptions Latest() {
    ConsumerOptions options;
    options.reset = OffsetReset::kLatest;  // asks for it
    return options;
  }
  void SayConfigs() {
    v1::ConfigResource topic;
    topic.set_type(v1::ConfigResource::TYPE_TOPIC);
    topic.set_name(t_.topic);
    v1::DescribeConfigsRequest describe;
    *describe.add_resources()->mutable_resource() = topic;
    client_.admin().DescribeConfigs(describe, kAdminTimeoutUs, Answered());
    v1::AlterConfigsRequest alter;
    auto* resource = alter.add_resources();
    *resource->mutable_resource() = topic;
    auto* change = resource->add_changes();
    change->set_name("max.message.bytes");
    change->set_operation(v1::ConfigChange::OPERATION_SET);
    change->set_value("500000");
    client_.admin().AlterConfigs(alter, kAdminTimeoutUs, Answered());
  }
  void UntilAnswered() {
    s_.Until("all is answered", [&] { return answered_ == asked_; },
             kPatienceMs);
  }

  Scenario& s_;
  const Tp t_;
  sim::SimClient client_;
  int asked_ = 0;
  int answered_ = 0;
};

// One of each thing that processes say to each other: clients, topics, a
// broker that comes back, a leader and a controller that change.
void SayEverything(Scenario& s, const Tp& t) {
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  // First: what is sent to a process that ends afterwards cannot come again.
  const int stopped = s.ActiveController();
  s.Stop(stopped);  // hands its role on
  s.Boot(stopped);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Produce(t, "without C");
  s.Boot(C);
  s.UntilIsr(t, {A, B, C}, kPatienceMs);
  sim::SimLoad load(&s.sim(), t.topic, 1);
  for (int i = 0; i < 20; ++i) s.MaySend(t, StrCat("value-", i));
  load.Send(10);
  s.Until("the load is acknowledged", [&] { return load.acked() == 10; },
          kPatienceMs);
  AdminCalls calls(&s, t);
  calls.Read();
  calls.Make();
  calls.SayTheRest();
  EveryGroupCall(&s, t).Make();
  // Stopped, not killed: what was sent to them comes again to the same process.
  const int X = s.ActiveController();
  const int leader = s.Committed(t).leader.value();
  s.Pause(X);
  s.Pause(leader);
  s.Until("another one leads", [&] {
    const NodeId now = s.Committed(t).leader;
    return now != kNoNode && now != NodeId(leader);
  });
  s.Resume(X);
  s.Resume(leader);
  s.UntilIsr(t, {A, B, C}, kPatienceMs);
  s.Produce(t, "in a new epoch");
}

// ---- A second time ----

// F60. Every message of a kind comes a second time a minute later, when broker,
// leader and controller epochs have changed -> no double effect: nothing is
// lost, the same on all (RP11, RA2, MD7). One call has no name of its own yet by
// which a second coming could be told: a CreateTopics behind a delete makes a
// new topic of that name.
class LateDuplicates : public testing::TestWithParam<MessageKind> {};

TEST_P(LateDuplicates, F60HaveNoSecondEffect) {
  CaughtPtr repeats;
  ScenarioOptions options = OnePartitionOfOffsets();
  options.before_boot = [&repeats](Scenario& s) {
    repeats = s.Repeat({GetParam()}, kMinuteMs);
  };
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {});
  SayEverything(s, t);
  s.Cease(repeats);
  s.Expect(repeats->count > 0, "the message was sent");
  s.RunFor(kMinuteMs + 1'000);
  s.Expect(s.sim().network().counts().repeated > 0, "and came again");
  s.Expect(Creates(GetParam()) || s.NewestImage().FindTopic("other") == nullptr,
           "a deleted topic does not come back");
  s.Converge();
}

INSTANTIATE_TEST_SUITE_P(Kinds, LateDuplicates,
                         testing::ValuesIn(AllBut([](MessageKind kind) {
                           return IsIn(kOfStreams, kind) || IsAnswer(kind);
                         })),
                         NameOfKind);

// ---- Late ----

// F60. One message of a stream between processes, of a broker that comes back,
// is a minute late; what follows it waits behind it; epochs change meanwhile ->
// it arrives in a world that has gone on, and changes nothing (RP11).
class LateFrames : public testing::TestWithParam<MessageKind> {};

TEST_P(LateFrames, F60ChangeNothing) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {});
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  s.Produce(t, "m1");
  bool once = false;
  const auto late = s.Hold({GetParam(), kAnyone, kAnyone, [&](const Message& m) {
    const bool of_c = m.from == NodeId(C) || m.to == NodeId(C);
    return of_c && !std::exchange(once, true);
  }});
  s.Send(A, t, "m2");
  s.Kill(C);
  s.RunFor(100);
  s.Boot(C);
  s.UntilCaught(late);
  s.Kill(A);
  s.UntilLeader(t, B);
  s.Boot(A);
  s.Until("A is back", [&] { return s.IsInIsr(t, A); });
  s.RunFor(kMinuteMs);
  s.Deliver(late);
  s.RunFor(1'000);
  s.Produce(t, "m3");
  s.Converge();
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, LateFrames,
    testing::Values(MessageKind::kFollowerFrame, MessageKind::kLeaderFrame,
                    MessageKind::kLiveness, MessageKind::kLivenessReply,
                    MessageKind::kFollowMetadata, MessageKind::kMetadataRecords,
                    MessageKind::kHelloReply,
                    MessageKind::kRegisterBrokerReply),
    NameOfKind);

// F60. Of every kind but those the first message is held when all else goes on,
// a question as well as an answer; epochs change; more than a minute later it
// arrives -> nobody waits for it, and it changes nothing (RP11, RA2).
class LateMessages : public testing::TestWithParam<MessageKind> {};

TEST_P(LateMessages, F60AreOfNoUse) {
  bool once = false;
  CaughtPtr late;
  const auto hold = [&](Scenario& s) {
    late = s.Hold({GetParam(), kAnyone, kAnyone, [&once](const Message&) {
      return !std::exchange(once, true);
    }});
  };
  const bool at_first_boot = sim::NameOf(GetParam()).starts_with("Bootstrap");
  ScenarioOptions options = OnePartitionOfOffsets();
  if (at_first_boot) options.before_boot = hold;
  Scenario s(options);
  const Tp t = s.CreateTopic("t", {});
  if (!at_first_boot) hold(s);
  SayEverything(s, t);
  s.Expect(late->count > 0, "the message was sent");
  s.RunFor(kMinuteMs);
  s.Deliver(late);
  s.RunFor(1'000);
  s.Expect(Creates(GetParam()) || Deletes(GetParam()) ||
               s.NewestImage().FindTopic("other") == nullptr,
           "a deleted topic does not come back");
  s.Produce(t, "after all");
  s.Converge();
}

INSTANTIATE_TEST_SUITE_P(Kinds, LateMessages,
                         testing::ValuesIn(AllBut([](MessageKind kind) {
                           return IsIn(kHoldsTheCluster, kind) ||
                                  (!IsOfClientStream(kind) &&
                                   IsIn(kOfStreams, kind));
                         })),
                         NameOfKind);

}  // namespace
}  // namespace sluice::scenario
