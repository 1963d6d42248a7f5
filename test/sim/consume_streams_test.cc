// What brokers owe the clients of Consume: streams by hand that break it, and
// some that only look like it.
#include "test/sim/consume_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "test/check/cluster.h"
#include "test/sim/wire.h"

namespace sluice::sim {
namespace {

using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

class ConsumeStreamsTest : public testing::Test {
 protected:
  void Open(int64_t credit, bool auto_ack = false) {
    v1::ConsumeRequest request;
    request.mutable_open()->set_group_id("g");
    request.mutable_open()->add_topics("t");
    if (auto_ack) {
      request.mutable_open()->set_ack_mode(v1::ConsumeOpen::ACK_MODE_AUTO);
    }
    request.set_credit_bytes(credit);
    Say(request);
  }
  void Say(const v1::ConsumeRequest& request) {
    Tell(MessageKind::kConsume, EncodeProto(request), Fate::kSent);
    Tell(MessageKind::kConsume, EncodeProto(request), Fate::kDelivered);
  }
  void Grant(int64_t credit) {
    v1::ConsumeRequest request;
    request.set_credit_bytes(credit);
    Say(request);
  }
  void AnswerRevoke(int64_t id) {
    v1::ConsumeRequest request;
    request.mutable_revoke_ack()->set_revoke_id(id);
    Say(request);
  }
  void Answer(const v1::ConsumeResponse& response) {
    Tell(MessageKind::kConsumeReply, EncodeProto(response), Fate::kSent);
  }
  void Assign(int generation, const std::vector<int>& all,
              const std::vector<int>& added) {
    v1::ConsumeResponse response;
    auto* assigned = response.mutable_assigned();
    assigned->set_member_id("m");
    assigned->set_generation_id(generation);
    Put(all, assigned->mutable_partitions());
    Put(added, assigned->mutable_added());
    Answer(response);
  }
  void Revoke(int64_t id, const std::vector<int>& partitions, int timeout_ms,
              bool lost = false) {
    v1::ConsumeResponse response;
    auto* revoke = response.mutable_revoke();
    revoke->set_revoke_id(id);
    revoke->set_timeout_ms(timeout_ms);
    revoke->set_lost(lost);
    Put(partitions, revoke->mutable_partitions());
    Answer(response);
  }
  void Push(int partition, int64_t bytes) {
    v1::ConsumeResponse response;
    auto* records = response.mutable_records();
    records->mutable_topic()->set_name("t");
    records->set_topic_id(topic_id_);
    records->set_partition(partition);
    records->set_next_offset(++next_);
    records->set_charged_bytes(bytes);
    Answer(response);
  }
  void Pass(int64_t ms) { now_us_ += ms * 1000; }

  std::vector<std::string> found_;
  std::string topic_id_ = "of sixteen bytes";

 private:
  template <class Out>
  static void Put(const std::vector<int>& partitions, Out* out) {
    for (const int p : partitions) {
      auto* position = out->Add();
      position->mutable_topic()->set_name("t");
      position->set_partition(p);
    }
  }
  void Tell(MessageKind kind, const std::string& bytes, Fate fate) {
    Message message;
    message.kind = kind;
    message.from = NodeId(1);
    message.to = NodeId(2);
    message.lane = 7;
    message.sent_us = now_us_;
    message.bytes = bytes;
    streams_.OnMessage(message, fate);
  }

  int64_t now_us_ = 1'000'000;
  int64_t next_ = 0;
  check::Cluster cluster_;
  check::Findings findings_;
  check::GroupInvariants invariants_{&findings_, &cluster_};
  ConsumeStreams streams_{&invariants_, [this](const std::string& what) {
                            found_.push_back(what);
                          }};
};

TEST_F(ConsumeStreamsTest, OnePushBelowZeroAndNoMore) {
  Open(10);
  Assign(1, {0}, {0});
  Push(0, 30);
  EXPECT_THAT(found_, IsEmpty());
  Push(0, 1);
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("CREDIT: ")));
}

TEST_F(ConsumeStreamsTest, WhatIsGrantedMayBePushed) {
  Open(10);
  Assign(1, {0}, {0});
  Push(0, 10);
  Grant(1);
  Push(0, 10);
  EXPECT_THAT(found_, IsEmpty());
}

TEST_F(ConsumeStreamsTest, NothingIsPushedOfWhatIsNotAssigned) {
  Open(100);
  Assign(1, {0}, {0});
  Push(1, 1);
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("PHANTOM: ")));
}

TEST_F(ConsumeStreamsTest, NothingIsPushedOfWhatIsRevoked) {
  Open(100);
  Assign(1, {0, 1}, {0, 1});
  Revoke(1, {1}, 1'000);
  Push(0, 1);
  EXPECT_THAT(found_, IsEmpty());
  Push(1, 1);
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("PHANTOM: ")));
}

TEST_F(ConsumeStreamsTest, WhatIsRevokedIsNotGivenUpBeforeTheClientSaysSo) {
  Open(100);
  Assign(1, {0, 1}, {0, 1});
  Revoke(1, {1}, 1'000);
  Pass(700);
  Assign(2, {0}, {});
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("RELEASED: ")));
}

TEST_F(ConsumeStreamsTest, ItIsWhenTheClientSaysSoOrItsTimeIsOver) {
  Open(100);
  Assign(1, {0, 1}, {0, 1});
  Revoke(1, {1}, 1'000);
  AnswerRevoke(1);
  Assign(2, {0}, {});
  Revoke(2, {0}, 1'000);
  Pass(1'000);
  Assign(3, {}, {});
  // Lost: nobody is asked.
  Assign(4, {0}, {0});
  Revoke(3, {0}, 0, /*lost=*/true);
  Assign(5, {0}, {0});
  EXPECT_THAT(found_, IsEmpty());
}

TEST_F(ConsumeStreamsTest, AnAnswerToAnOlderRevocationIsNone) {
  Open(100);
  Assign(1, {0, 1}, {0, 1});
  Revoke(1, {1}, 1'000);
  AnswerRevoke(1);
  Assign(2, {0}, {});
  Revoke(2, {0}, 1'000);
  AnswerRevoke(1);
  Assign(3, {}, {});
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("RELEASED: ")));
}

TEST_F(ConsumeStreamsTest, WhatIsPushedSaysOfWhichTopicItIs) {
  Open(100);
  Assign(1, {0}, {0});
  Push(0, 1);
  EXPECT_THAT(found_, IsEmpty());
  topic_id_.clear();
  Push(0, 1);
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("TOPIC: ")));
}

TEST_F(ConsumeStreamsTest, WhatItHasItWasToldOf) {
  Open(100);
  Assign(1, {0, 1}, {0});
  EXPECT_THAT(found_, UnorderedElementsAre(StartsWith("ASSIGNED: ")));
}

}  // namespace
}  // namespace sluice::sim
