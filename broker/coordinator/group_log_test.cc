#include "broker/coordinator/group_log.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "sluice/internal/v1/group_log.pb.h"
#include "storage/batch_builder.h"

namespace sluice::coordinator {
namespace {

using offsets::GroupGone;
using offsets::GroupPut;
using offsets::OffsetGone;
using offsets::OffsetPut;

const TopicId kTopic{Uuid(1, 2)};

offsets::OffsetKey Key(int32_t partition) {
  return {"payments", {kTopic, PartitionIndex(partition)}};
}

OffsetPut Put(int32_t partition) {
  OffsetPut put{Key(partition), {}};
  put.committed.offset = Offset(41);
  put.committed.leader_epoch = LeaderEpoch(3);
  put.committed.time_ms = 1'700'000'000'123;
  put.committed.origin = offsets::Origin::kAdmin;
  put.committed.metadata = "";
  put.committed.member = "c-1";
  return put;
}

StoredGroup Group() {
  StoredGroup stored;
  stored.time_ms = 5;
  stored.image.state = group::GroupState::kStable;
  stored.image.generation = group::Generation(7);
  stored.image.protocol_type = "consumer";
  stored.image.protocol_name = "range";
  stored.image.leader = group::MemberId("b");
  stored.image.rebalance_reason = "joined";
  for (const char* id : {"a", "b"}) {
    group::MemberImage member;
    member.id = group::MemberId(id);
    member.instance = group::InstanceId(id == std::string("b") ? "i" : "");
    member.client_id = "client";
    member.client_host = "10.0.0.1:5";
    member.session_timeout_us = 10'000'000;
    member.rebalance_timeout_us = 60'000'000;
    member.protocols = {{"range", std::string("\0\1", 2)}, {"sticky", ""}};
    member.assignment = std::string("\0\0", 2);
    member.join_reason = "why";
    stored.image.members.push_back(member);
  }
  return stored;
}

absl::StatusOr<Change> RoundTrip(const Change& change) {
  const LogRecord record = EncodeRecord(change);
  return DecodeRecord(record.key, record.value);
}

TEST(GroupLogTest, AnOffsetAndItsEndComeBack) {
  const auto put = RoundTrip(Put(2));
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_EQ(std::get<OffsetPut>(*put).key, Key(2));
  EXPECT_EQ(std::get<OffsetPut>(*put).committed, Put(2).committed);
  const auto gone = RoundTrip(OffsetGone{Key(2)});
  ASSERT_TRUE(gone.ok()) << gone.status();
  EXPECT_EQ(std::get<OffsetGone>(*gone).key, Key(2));
}

TEST(GroupLogTest, NoMetadataIsNotEmptyMetadata) {
  OffsetPut put = Put(0);
  put.committed.metadata.reset();
  const auto back = RoundTrip(put);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(std::get<OffsetPut>(*back).committed.metadata, std::nullopt);
}

TEST(GroupLogTest, AGroupAndItsEndComeBack) {
  const auto put = RoundTrip(GroupPut{"payments", EncodeGroup(Group())});
  ASSERT_TRUE(put.ok()) << put.status();
  const auto stored = DecodeGroup(std::get<GroupPut>(*put).record);
  ASSERT_TRUE(stored.ok()) << stored.status();
  EXPECT_EQ(*stored, Group());
  const auto gone = RoundTrip(GroupGone{"payments"});
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(std::get<GroupGone>(*gone).group, "payments");
}

TEST(GroupLogTest, WhatIsNotKnownIsRefused) {
  const LogRecord good = EncodeRecord(Put(1));
  internal::v1::GroupLogKey no_key;
  EXPECT_EQ(CodeOf(DecodeRecord(no_key.SerializeAsString(), good.value)
                       .status()),
            ErrorCode::kUnsupportedFormat);
  // A newer version's field: number 100, a varint.
  const std::string newer("\xa0\x06\x01", 3);
  EXPECT_EQ(CodeOf(DecodeRecord(good.key + newer, good.value).status()),
            ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(CodeOf(DecodeRecord(good.key, *good.value + newer).status()),
            ErrorCode::kUnsupportedFormat);
  EXPECT_EQ(CodeOf(DecodeRecord("\xff", good.value).status()),
            ErrorCode::kUnsupportedFormat);
}

// The message, and each one that is set inside it.
void ForEachMessage(google::protobuf::Message* message,
                    const std::function<void(google::protobuf::Message*)>& on) {
  on(message);
  const auto* reflection = message->GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const auto* field : fields) {
    if (field->message_type() == nullptr) continue;
    if (!field->is_repeated()) {
      ForEachMessage(reflection->MutableMessage(message, field), on);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
      ForEachMessage(reflection->MutableRepeatedMessage(message, field, i), on);
    }
  }
}

TEST(GroupLogTest, AnUnknownFieldIsRefusedWhereverItIs) {
  const LogRecord offset = EncodeRecord(Put(1));
  const LogRecord group = EncodeRecord(GroupPut{"g", EncodeGroup(Group())});
  std::set<std::string> seen;
  const auto refuses = [&seen](google::protobuf::Message* whole,
                               const std::function<absl::Status()>& decode) {
    ASSERT_TRUE(decode().ok()) << decode();
    ForEachMessage(whole, [&](google::protobuf::Message* part) {
      seen.insert(part->GetTypeName());
      auto* unknown = part->GetReflection()->MutableUnknownFields(part);
      unknown->AddVarint(100, 1);
      EXPECT_EQ(CodeOf(decode()), ErrorCode::kUnsupportedFormat)
          << part->GetTypeName();
      unknown->Clear();
    });
  };
  for (const LogRecord& record : {offset, group}) {
    internal::v1::GroupLogKey key;
    ASSERT_TRUE(key.ParseFromString(record.key));
    refuses(&key, [&] {
      return DecodeRecord(key.SerializeAsString(), record.value).status();
    });
  }
  internal::v1::CommittedOffsetValue committed;
  ASSERT_TRUE(committed.ParseFromString(*offset.value));
  refuses(&committed, [&] {
    return DecodeRecord(offset.key, committed.SerializeAsString()).status();
  });
  internal::v1::GroupValue value;
  ASSERT_TRUE(value.ParseFromString(*group.value));
  refuses(&value, [&] {
    return DecodeRecord(group.key, value.SerializeAsString()).status();
  });

  // No message of the log was left out here, and so none there.
  const auto* file = internal::v1::GroupLogKey::descriptor()->file();
  for (int i = 0; i < file->message_type_count(); ++i) {
    EXPECT_TRUE(seen.contains(file->message_type(i)->full_name()))
        << file->message_type(i)->full_name();
  }
}

// The messages that decoding uses again keep nothing of the record before.
TEST(GroupLogTest, ARecordTakesNothingFromTheOneBeforeIt) {
  OffsetPut plain = Put(2);
  plain.committed.metadata.reset();
  plain.committed.member.clear();
  plain.committed.leader_epoch = kNoLeaderEpoch;
  const std::vector<Change> changes = {
      Put(1), plain, GroupPut{"other", EncodeGroup(Group())}, plain,
      OffsetGone{Key(3)}, Put(4)};
  const auto built = BuildBatch(changes, 1);
  ASSERT_TRUE(built.ok());
  const auto batch = BatchView::Parse(built->view());
  ASSERT_TRUE(batch.ok());
  const auto decoded = DecodeBatch(*batch);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_EQ(decoded->records.size(), changes.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    EXPECT_EQ(EncodeRecord(decoded->records[i].change),
              EncodeRecord(changes[i]))
        << i;
  }
}

TEST(GroupLogTest, AGroupThatNoCoreCouldBeIsRefused) {
  const auto refused = [](const StoredGroup& stored) {
    return CodeOf(DecodeGroup(EncodeGroup(stored)).status()) ==
           ErrorCode::kUnsupportedFormat;
  };
  StoredGroup no_leader = Group();
  no_leader.image.leader = group::MemberId("nobody");
  EXPECT_TRUE(refused(no_leader));
  StoredGroup empty = Group();
  empty.image.members.clear();
  EXPECT_TRUE(refused(empty));
  StoredGroup twice = Group();
  twice.image.members[1].id = twice.image.members[0].id;
  EXPECT_TRUE(refused(twice));
  StoredGroup same = Group();
  same.image.members[0].instance = same.image.members[1].instance;
  EXPECT_TRUE(refused(same));
  StoredGroup nameless = Group();
  nameless.image.protocol_name.clear();
  EXPECT_TRUE(refused(nameless));
  StoredGroup endless = Group();
  endless.image.members[0].rebalance_timeout_us = INT64_MAX;
  EXPECT_TRUE(refused(endless));
  StoredGroup timeless = Group();
  timeless.image.members[0].session_timeout_us = 0;
  EXPECT_TRUE(refused(timeless));
}

TEST(GroupLogTest, ABatchComesBackWithItsOffsets) {
  const std::vector<Change> changes = {Put(0), OffsetGone{Key(1)},
                                       GroupPut{"payments",
                                                EncodeGroup(Group())}};
  auto batch = BuildBatch(changes, 77);
  ASSERT_TRUE(batch.ok()) << batch.status();
  ASSERT_TRUE(AssignOffsets(*batch, Offset(10), LeaderEpoch(4)).ok());
  const auto view = BatchView::Parse(batch->view());
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(view->CrcMatches());
  const auto decoded = DecodeBatch(*view);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->base, Offset(10));
  EXPECT_EQ(decoded->next, Offset(13));
  EXPECT_EQ(decoded->epoch, LeaderEpoch(4));
  ASSERT_EQ(decoded->records.size(), 3u);
  EXPECT_EQ(decoded->records[2].offset, Offset(12));
  EXPECT_TRUE(std::holds_alternative<OffsetGone>(decoded->records[1].change));
}

TEST(GroupLogTest, ARecordWithoutAKeyStopsTheBatch) {
  BatchBuilder builder({});
  RecordView record;
  record.value = "somebody's own";
  ASSERT_TRUE(builder.Add(record));
  auto batch = builder.Finish();
  ASSERT_TRUE(batch.ok());
  const auto view = BatchView::Parse(batch->view());
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(CodeOf(DecodeBatch(*view).status()),
            ErrorCode::kUnsupportedFormat);
}

TEST(GroupLogTest, TooMuchForOneBatchIsRefusedWhole) {
  StoredGroup large = Group();
  large.image.members[0].assignment.assign(kGroupBatchBytesMax, 'x');
  EXPECT_EQ(CodeOf(BuildBatch({GroupPut{"payments", EncodeGroup(large)}}, 0)
                       .status()),
            ErrorCode::kMessageTooLarge);
}

// What the core lets in, the log takes: members of many small texts, and of few
// large ones.
TEST(GroupLogTest, AGroupAtItsLimitsIsOneRecord) {
  const group::GroupConfig limits;
  for (const int64_t members : {5, 10'000}) {
    StoredGroup full = Group();
    full.image.rebalance_reason.assign(group::kRebalanceReasonBytesMax, 'r');
    full.image.members.clear();
    // As the core counts: 64 for the member, 16 for its protocol.
    const int64_t each = limits.members_bytes_max / members - 64 - 16;
    for (int64_t i = 0; i < members; ++i) {
      group::MemberImage member;
      member.id = group::MemberId(StrCat("m", i));
      member.session_timeout_us = member.rebalance_timeout_us =
          int64_t{1'800'000'000};
      member.protocols = {
          {"range", std::string(static_cast<size_t>(each) - 11, 'm')}};
      member.assignment.assign(
          static_cast<size_t>(limits.assignments_bytes_max / members), 'a');
      full.image.members.push_back(std::move(member));
    }
    const auto batch = BuildBatch({GroupPut{"payments", EncodeGroup(full)}}, 0);
    EXPECT_TRUE(batch.ok()) << members << ": " << batch.status();
  }
}

}  // namespace
}  // namespace sluice::coordinator
