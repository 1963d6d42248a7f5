#include "common/rpc/replication_wire.h"

#include <gtest/gtest.h>

#include <functional>

#include "common/base/error.h"
#include "common/rpc/slice_writer.h"
#include "sluice/internal/v1/replication.pb.h"

namespace sluice::rpc {
namespace {

namespace pb = internal::v1;

const TopicPartition kTp{TopicId(Uuid(7, 9)), PartitionIndex(3)};

TEST(ReplicationWireTest, ALeaderFrameComesBackWithEveryField) {
  LeaderFrame frame;
  frame.refused = api::ItemError(ErrorCode::kStaleBrokerEpoch, "old");
  AddAnswer answer;
  answer.tp = kTp;
  answer.leader_epoch = LeaderEpoch(4);
  answer.error = api::ItemError(ErrorCode::kOffsetOutOfRange, "trimmed");
  answer.log_start_offset = Offset(100);
  answer.diverging = true;
  answer.diverging_epoch = LeaderEpoch(2);
  answer.diverging_end_offset = Offset(50);
  answer.fetch_offset = Offset(60);
  answer.add_number = AddNumber(21);
  frame.add_answers.push_back(answer);
  const std::string large(100'000, 'x');  // by reference
  for (const std::string& bytes : {std::string("small"), large}) {
    frame.data.push_back({kTp, LeaderEpoch(4), Buffer::CopyOf(bytes),
                          Offset(10), AddNumber(22)});
  }
  frame.high_watermarks.push_back(
      {kTp, LeaderEpoch(4), Offset(11), AddNumber(23)});
  frame.removed.push_back(
      {kTp, LeaderEpoch(4), api::ItemError(ErrorCode::kNotLeader, "moved"),
       AddNumber(24)});
  frame.moved.push_back(
      {kTp, LeaderEpoch(4), StreamKind::kCatchUp, AddNumber(1LL << 40)});

  grpc::ByteBuffer bytes = EncodeLeaderFrame(frame);
  const auto back = DecodeLeaderFrame(&bytes);

  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->refused.code, ErrorCode::kStaleBrokerEpoch);
  EXPECT_EQ(back->refused.message, "old");
  ASSERT_EQ(back->add_answers.size(), 1u);
  const AddAnswer& got = back->add_answers[0];
  EXPECT_EQ(got.tp, kTp);
  EXPECT_EQ(got.leader_epoch, LeaderEpoch(4));
  EXPECT_EQ(got.error.code, ErrorCode::kOffsetOutOfRange);
  EXPECT_EQ(got.log_start_offset, Offset(100));
  EXPECT_TRUE(got.diverging);
  EXPECT_EQ(got.diverging_epoch, LeaderEpoch(2));
  EXPECT_EQ(got.diverging_end_offset, Offset(50));
  EXPECT_EQ(got.fetch_offset, Offset(60));
  EXPECT_EQ(got.add_number, AddNumber(21));
  ASSERT_EQ(back->data.size(), 2u);
  EXPECT_EQ(back->data[0].batches.view(), "small");
  EXPECT_EQ(back->data[1].batches.view(), large);
  EXPECT_EQ(back->data[1].tp, kTp);
  EXPECT_EQ(back->data[1].high_watermark, Offset(10));
  EXPECT_EQ(back->data[1].add_number, AddNumber(22));
  ASSERT_EQ(back->high_watermarks.size(), 1u);
  EXPECT_EQ(back->high_watermarks[0].high_watermark, Offset(11));
  EXPECT_EQ(back->high_watermarks[0].add_number, AddNumber(23));
  ASSERT_EQ(back->removed.size(), 1u);
  EXPECT_EQ(back->removed[0].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(back->removed[0].add_number, AddNumber(24));
  ASSERT_EQ(back->moved.size(), 1u);
  EXPECT_EQ(back->moved[0].tp, kTp);
  EXPECT_EQ(back->moved[0].leader_epoch, LeaderEpoch(4));
  EXPECT_EQ(back->moved[0].to, StreamKind::kCatchUp);
  EXPECT_EQ(back->moved[0].add_number, AddNumber(1LL << 40));
}

TEST(ReplicationWireTest, AFollowerFrameComesBackWithEveryField) {
  FollowerFrame frame;
  frame.open = OpenSession{ClusterId(Uuid(1, 2)), NodeId(3), BrokerEpoch(17),
                           IncarnationId(Uuid(4, 5)), NodeId(6),
                           StreamKind::kCatchUp};
  frame.adds.push_back(
      {kTp, LeaderEpoch(4), Offset(8), kNoLeaderEpoch, AddNumber(31)});
  frame.acks.push_back(
      {kTp, LeaderEpoch(4), Offset(9), Offset(7), AddNumber(32)});
  frame.removes.push_back({kTp, LeaderEpoch(5), AddNumber(33)});
  frame.credit_bytes = 1 << 20;

  grpc::ByteBuffer bytes = EncodeFollowerFrame(frame);
  const auto back = DecodeFollowerFrame(&bytes);

  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_TRUE(back->open.has_value());
  EXPECT_EQ(back->open->cluster_id, ClusterId(Uuid(1, 2)));
  EXPECT_EQ(back->open->broker_id, NodeId(3));
  EXPECT_EQ(back->open->broker_epoch, BrokerEpoch(17));
  EXPECT_EQ(back->open->incarnation_id, IncarnationId(Uuid(4, 5)));
  EXPECT_EQ(back->open->leader_id, NodeId(6));
  EXPECT_EQ(back->open->kind, StreamKind::kCatchUp);
  ASSERT_EQ(back->adds.size(), 1u);
  EXPECT_EQ(back->adds[0].fetch_offset, Offset(8));
  EXPECT_EQ(back->adds[0].last_fetched_epoch, kNoLeaderEpoch);
  EXPECT_EQ(back->adds[0].add_number, AddNumber(31));
  ASSERT_EQ(back->acks.size(), 1u);
  EXPECT_EQ(back->acks[0].appended_leo, Offset(9));
  EXPECT_EQ(back->acks[0].durable_leo, Offset(7));
  EXPECT_EQ(back->acks[0].add_number, AddNumber(32));
  ASSERT_EQ(back->removes.size(), 1u);
  EXPECT_EQ(back->removes[0].leader_epoch, LeaderEpoch(5));
  EXPECT_EQ(back->removes[0].add_number, AddNumber(33));
  EXPECT_EQ(back->credit_bytes, 1 << 20);
}

// Each row spoils one good frame in one way.
TEST(ReplicationWireTest, WhatNoPeerSendsIsRefusedByName) {
  const std::vector<std::function<void(pb::FollowerFrame*)>> spoilers = {
      [](auto* f) { f->mutable_open()->set_cluster_id("short"); },
      [](auto* f) { f->mutable_open()->set_incarnation_id("short"); },
      [](auto* f) { f->mutable_open()->set_broker_id(-1); },
      [](auto* f) { f->mutable_open()->set_leader_id(0); },
      [](auto* f) { f->mutable_open()->set_broker_epoch(-2); },
      [](auto* f) {
        f->mutable_open()->set_kind(static_cast<pb::StreamKind>(7));
      },
      [](auto* f) { f->set_credit_bytes(-1); },
      [](auto* f) { f->mutable_adds(0)->set_topic_id("short"); },
      [](auto* f) { f->mutable_adds(0)->clear_topic_id(); },
      [](auto* f) { f->mutable_adds(0)->set_partition(-1); },
      [](auto* f) { f->mutable_adds(0)->set_leader_epoch(-1); },
      [](auto* f) { f->mutable_adds(0)->set_fetch_offset(-1); },
      [](auto* f) { f->mutable_adds(0)->set_last_fetched_epoch(-2); },
      [](auto* f) { f->mutable_acks(0)->set_durable_offset(-1); },
      [](auto* f) { f->mutable_acks(0)->set_appended_offset(0); },
      [](auto* f) { f->mutable_removes(0)->set_topic_id("short"); },
      [](auto* f) { f->mutable_adds(0)->set_add_number(-1); },
      [](auto* f) { f->mutable_adds(0)->clear_add_number(); },
      [](auto* f) { f->mutable_acks(0)->clear_add_number(); },
      [](auto* f) { f->mutable_removes(0)->clear_add_number(); },
  };
  FollowerFrame good;
  good.open = OpenSession{ClusterId(Uuid(1, 2)), NodeId(3), BrokerEpoch(17),
                          IncarnationId(Uuid(4, 5)), NodeId(6)};
  good.adds.push_back(
      {kTp, LeaderEpoch(4), Offset(8), LeaderEpoch(1), AddNumber(1)});
  good.acks.push_back(
      {kTp, LeaderEpoch(4), Offset(9), Offset(7), AddNumber(1)});
  good.removes.push_back({kTp, LeaderEpoch(5), AddNumber(1)});
  for (size_t i = 0; i < spoilers.size(); ++i) {
    grpc::ByteBuffer encoded = EncodeFollowerFrame(good);
    pb::FollowerFrame frame;
    ASSERT_TRUE(ParseMessage(&encoded, &frame));
    spoilers[i](&frame);
    grpc::ByteBuffer bytes = ToByteBuffer(frame);
    EXPECT_EQ(CodeOf(DecodeFollowerFrame(&bytes).status()),
              ErrorCode::kInvalidRequest)
        << "spoiler " << i;
  }
}

TEST(ReplicationWireTest, ALeadersNonsenseIsRefusedByName) {
  pb::LeaderFrame frame;
  auto* data = frame.add_data();
  data->set_topic_id(kTp.topic_id.ToBytes());
  data->set_high_watermark(-5);
  grpc::ByteBuffer negative = ToByteBuffer(frame);
  EXPECT_EQ(CodeOf(DecodeLeaderFrame(&negative).status()),
            ErrorCode::kInvalidRequest);

  grpc::Slice noise(std::string("\xff\xff\xff not protobuf"));
  grpc::ByteBuffer garbage(&noise, 1);
  EXPECT_EQ(CodeOf(DecodeLeaderFrame(&garbage).status()),
            ErrorCode::kInvalidRequest);
  grpc::ByteBuffer garbage_too(&noise, 1);
  EXPECT_EQ(CodeOf(DecodeFollowerFrame(&garbage_too).status()),
            ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice::rpc
