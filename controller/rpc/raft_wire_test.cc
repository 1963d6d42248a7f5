#include "controller/rpc/raft_wire.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/random.h"

namespace sluice {
namespace {

using raft::Entry;
using raft::Message;
using raft::MessageType;

constexpr MessageType kTypes[] = {
    MessageType::kPreVote,         MessageType::kPreVoteResponse,
    MessageType::kVote,            MessageType::kVoteResponse,
    MessageType::kAppend,          MessageType::kAppendResponse,
    MessageType::kHeartbeat,       MessageType::kHeartbeatResponse,
    MessageType::kTimeoutNow,      MessageType::kObserve,
    MessageType::kBootstrapProbe,  MessageType::kBootstrapAnswer,
    MessageType::kBootstrapOffer,  MessageType::kBootstrapAck};

// Any field at any value, extremes included.
class RandomMessages {
 public:
  explicit RandomMessages(uint64_t seed) : random_(seed) {}

  Message Next() {
    Message m;
    m.type = kTypes[random_.Below(std::size(kTypes))];
    if (Coin()) m.cluster_id = ClusterId(random_.NextUuid());
    m.from = Voter();
    m.to = Voter();
    m.term = Term(Number());
    m.log_index = LogIndex(Number());
    m.log_term = Term(Number());
    m.commit_index = LogIndex(Number());
    m.reject = Coin();
    m.reject_hint = LogIndex(Number());
    m.reject_hint_term = Term(Number());
    for (uint64_t n = random_.Below(4); n > 0; --n) {
      m.entries.push_back({Term(Number()), LogIndex(Number()),
                           static_cast<raft::EntryType>(1 + random_.Below(3)),
                           Buffer::Take(Bytes())});
    }
    m.context = Number();
    m.flag = Coin();
    if (Coin()) m.bootstrap = Record();
    return m;
  }

 private:
  bool Coin() { return random_.OneIn(2); }
  int64_t Number() {
    switch (random_.Below(5)) {
      case 0:
        return 0;
      case 1:
        return INT64_MAX;
      case 2:
        return INT64_MIN;
      default:
        return static_cast<int64_t>(random_.Next64() >> random_.Below(64));
    }
  }
  std::string Bytes() {
    std::string bytes(random_.Below(300), '\0');
    for (char& c : bytes) c = static_cast<char>(random_.Next64());
    return bytes;
  }
  NodeId Node() {
    return NodeId(static_cast<int32_t>(random_.Between(1, INT32_MAX)));
  }
  raft::VoterId Voter() {
    return {Node(), Coin() ? DirectoryId(random_.NextUuid()) : DirectoryId()};
  }
  raft::BootstrapRecord Record() {
    raft::BootstrapRecord record;
    if (Coin()) record.cluster_id = ClusterId(random_.NextUuid());
    if (Coin()) record.salt = random_.NextUuid();
    // A record without voters is no record, and is absent on the wire.
    for (uint64_t n = 1 + random_.Below(4); n > 0; --n) {
      const raft::VoterId voter = Voter();
      record.voters.push_back({voter.node, voter.directory, "h:9"});
    }
    return record;
  }

  Random random_;
};

void ExpectEqual(const Message& a, const Message& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.cluster_id, b.cluster_id);
  EXPECT_EQ(a.from, b.from);
  EXPECT_EQ(a.to, b.to);
  EXPECT_EQ(a.term, b.term);
  EXPECT_EQ(a.log_index, b.log_index);
  EXPECT_EQ(a.log_term, b.log_term);
  EXPECT_EQ(a.commit_index, b.commit_index);
  EXPECT_EQ(a.reject, b.reject);
  EXPECT_EQ(a.reject_hint, b.reject_hint);
  EXPECT_EQ(a.reject_hint_term, b.reject_hint_term);
  ASSERT_EQ(a.entries.size(), b.entries.size());
  for (size_t i = 0; i < a.entries.size(); ++i) {
    EXPECT_EQ(a.entries[i].term, b.entries[i].term);
    EXPECT_EQ(a.entries[i].index, b.entries[i].index);
    EXPECT_EQ(a.entries[i].type, b.entries[i].type);
    EXPECT_EQ(a.entries[i].payload.view(), b.entries[i].payload.view());
  }
  EXPECT_EQ(a.context, b.context);
  EXPECT_EQ(a.flag, b.flag);
  EXPECT_EQ(a.bootstrap, b.bootstrap);
}

TEST(RaftWireTest, EveryMessageComesOutAsItWentIn) {
  RandomMessages messages(1);
  for (int i = 0; i < 2000; ++i) {
    const Message sent = messages.Next();
    internal::v1::RaftMessage parsed;
    ASSERT_TRUE(
        parsed.ParseFromString(RaftMessageToProto(sent).SerializeAsString()));
    const auto received = RaftMessageFromProto(std::move(parsed));
    ASSERT_TRUE(received.ok()) << received.status();
    ExpectEqual(sent, *received);
  }
}

class HostileRaftMessageTest : public testing::Test {
 protected:
  HostileRaftMessageTest() {
    Message message;
    message.type = MessageType::kAppend;
    message.cluster_id = ClusterId(random_.NextUuid());
    message.from = {NodeId(1), DirectoryId(random_.NextUuid())};
    message.to = {NodeId(2), DirectoryId(random_.NextUuid())};
    message.entries.push_back({Term(1), LogIndex(5)});
    proto_ = RaftMessageToProto(message);
  }
  void ExpectRefused(const std::string& what) {
    const auto message = RaftMessageFromProto(proto_);
    ASSERT_FALSE(message.ok()) << what;
    EXPECT_EQ(CodeOf(message.status()), ErrorCode::kInvalidRequest);
    EXPECT_NE(message.status().message().find(what), absl::string_view::npos)
        << message.status();
  }

  Random random_{7};
  internal::v1::RaftMessage proto_;
};

TEST_F(HostileRaftMessageTest, TheHonestOneIsTaken) {
  EXPECT_TRUE(RaftMessageFromProto(proto_).ok());
}

TEST_F(HostileRaftMessageTest, IdsOfAWrongLengthAreRefused) {
  proto_.set_cluster_id("short");
  ExpectRefused("cluster_id has 5 bytes");
  proto_.set_cluster_id("");
  proto_.set_from_directory(std::string(17, 'x'));
  ExpectRefused("from has 17 bytes");
  proto_.set_from_directory("");
  proto_.set_to_directory("y");
  ExpectRefused("to has 1 bytes");
}

TEST_F(HostileRaftMessageTest, NodesBelowOneAreRefused) {
  proto_.set_from(0);
  ExpectRefused("node id 0 in from");
  proto_.set_from(1);
  proto_.set_to(-3);
  ExpectRefused("node id -3 in to");
}

TEST_F(HostileRaftMessageTest, UnknownTypesAreRefused) {
  for (const int type : {0, -1, 11, 24, 1000}) {
    proto_.set_type(type);
    ExpectRefused("is not known here");
  }
  proto_.set_type(static_cast<int>(MessageType::kAppend));
  proto_.mutable_entries(0)->set_type(4);
  ExpectRefused("entry 5 has type 4");
}

TEST_F(HostileRaftMessageTest, ABootstrapRecordThatIsNoneIsRefused) {
  proto_.set_bootstrap("\xff\xff\xff");
  ExpectRefused("bootstrap record");
}

}  // namespace
}  // namespace sluice
