#include "controller/metadata_feed.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "controller/controller_testing.h"

namespace sluice {
namespace {

using internal::v1::FollowMetadataRequest;
using internal::v1::FollowMetadataResponse;
using Stream = FakeStream<FollowMetadataResponse>;

class MetadataFeedTest : public testing::Test {
 protected:
  struct Follower {
    std::shared_ptr<Stream> stream = std::make_shared<Stream>();
    MetadataFeed::Events events;

    std::vector<int64_t> Offsets() const {
      std::vector<int64_t> offsets;
      for (const auto& piece : stream->sent) {
        for (const auto& batch : piece.batches()) {
          offsets.push_back(batch.offset());
        }
      }
      return offsets;
    }
    // What was sent is on the wire, until nothing more comes.
    void DrainAll() {
      for (size_t seen = 0; seen != stream->sent.size();) {
        seen = stream->sent.size();
        events.on_drained();
      }
    }
  };

  MetadataFeedTest() {
    log_.Start({[](CommittedEntry) {}, [](const MetadataLogRole&) {}});
  }
  Follower Follow(int64_t from, ClusterId cluster = ClusterId(Uuid(1, 2))) {
    FollowMetadataRequest request;
    if (cluster.is_set()) request.set_cluster_id(cluster.ToBytes());
    request.set_broker_id(4);
    request.set_from_offset(from);
    Follower follower;
    follower.events = feed_.Accept(request, follower.stream);
    return follower;
  }
  // One more committed batch of about `bytes`.
  void Commit(size_t bytes = 10) {
    internal::v1::MetadataBatch batch;
    batch.add_records()->mutable_topic()->set_name(std::string(bytes, 'n'));
    log_.DeliverForeign(batch.SerializeAsString());
    feed_.OnCommitted(log_.committed().back().index, Term(1), batch);
  }

  SimWorld world_;
  std::unique_ptr<Executor> executor_ = world_.NewExecutor();
  FakeMetadataLog log_{executor_.get()};
  std::vector<absl::Status> fatal_;
  MetadataFeed feed_{&log_, [this](absl::Status why) {
                       fatal_.push_back(std::move(why));
                     }};
};

TEST_F(MetadataFeedTest, TheFirstAnswerComesAtOnceEvenWithNothingToTell) {
  const Follower follower = Follow(0);
  ASSERT_EQ(follower.stream->sent.size(), 1u);
  EXPECT_EQ(follower.stream->sent[0].batches_size(), 0);
  EXPECT_EQ(follower.stream->sent[0].committed_offset(), 0);
}

TEST_F(MetadataFeedTest, EveryBatchComesOnceInOrderFromTheOffsetAsked) {
  for (int i = 0; i < 5; ++i) Commit();  // 2 to 6
  Follower follower = Follow(4);
  EXPECT_EQ(follower.Offsets(), (std::vector<int64_t>{4, 5, 6}));
  EXPECT_EQ(follower.stream->sent[0].previous_offset(), 3);
  follower.DrainAll();
  Commit();
  EXPECT_EQ(follower.Offsets(), (std::vector<int64_t>{4, 5, 6, 7}));
  EXPECT_EQ(follower.stream->sent.back().previous_offset(), 6);
}

TEST_F(MetadataFeedTest, AGapOfRaftsOwnEntriesIsNoGap) {
  Commit();
  log_.SkipIndex();
  log_.SkipIndex();
  Commit();  // 5
  const Follower follower = Follow(3);
  EXPECT_EQ(follower.Offsets(), (std::vector<int64_t>{5}));
}

TEST_F(MetadataFeedTest, ASlowFollowerHasOnePieceOnTheWay) {
  Follower follower = Follow(0);
  for (int i = 0; i < 20; ++i) Commit();
  EXPECT_EQ(follower.stream->sent.size(), 1u);  // the first answer
  follower.events.on_drained();
  EXPECT_EQ(follower.stream->sent.size(), 2u);
  EXPECT_EQ(follower.Offsets().size(), 20u);
}

TEST_F(MetadataFeedTest, PiecesAreBounded) {
  for (int i = 0; i < 5; ++i) Commit(400'000);
  Follower follower = Follow(0);
  follower.DrainAll();
  EXPECT_EQ(follower.Offsets(), (std::vector<int64_t>{2, 3, 4, 5, 6}));
  ASSERT_GE(follower.stream->sent.size(), 3u);
  for (const auto& piece : follower.stream->sent) {
    EXPECT_LE(piece.ByteSizeLong(), MetadataFeed::kPieceBytesMax + 1000);
  }
}

TEST_F(MetadataFeedTest, OldBatchesComeFromTheLogThenFromMemory) {
  for (int i = 0; i < 30; ++i) Commit(500'000);  // more than is kept
  Follower follower = Follow(0);
  follower.DrainAll();
  EXPECT_GT(log_.reads_of_the_store(), 0u);
  const std::vector<int64_t> offsets = follower.Offsets();
  ASSERT_EQ(offsets.size(), 30u);
  for (size_t i = 0; i < offsets.size(); ++i) {
    EXPECT_EQ(offsets[i], static_cast<int64_t>(i) + 2);
  }
  const size_t reads = log_.reads_of_the_store();
  Commit();
  follower.DrainAll();
  EXPECT_EQ(follower.Offsets().size(), 31u);
  EXPECT_EQ(log_.reads_of_the_store(), reads);
}

TEST_F(MetadataFeedTest, ANewTermIsToldWithoutBatches) {
  Follower follower = Follow(0);
  follower.events.on_drained();
  MetadataLogRole role;
  role.term = Term(7);
  role.leader = NodeId(3);
  role.durable_term = Term(7);
  feed_.OnRole(role);
  ASSERT_EQ(follower.stream->sent.size(), 2u);
  EXPECT_EQ(follower.stream->sent[1].term(), 7);
  EXPECT_EQ(follower.stream->sent[1].active_controller_id(), 3);
}

// RA2: else brokers would wait for a term that a power cut took back.
TEST_F(MetadataFeedTest, ATermThatIsNotDurableYetIsNotTold) {
  Follower follower = Follow(0);
  follower.events.on_drained();
  MetadataLogRole role;
  role.term = Term(8);
  role.leader = NodeId(3);
  role.durable_term = Term(7);
  feed_.OnRole(role);
  ASSERT_EQ(follower.stream->sent.size(), 2u);
  EXPECT_EQ(follower.stream->sent[1].term(), 7);
  EXPECT_EQ(follower.stream->sent[1].active_controller_id(),
            kNoNode.value());
}

// A restarted controller applies what the leader has committed before it is
// told that leader's term: brokers would refuse such a piece as stale.
TEST_F(MetadataFeedTest, ATermIsNeverBelowThatOfTheBatchesSent) {
  Commit();
  const Follower follower = Follow(1);
  ASSERT_EQ(follower.stream->sent.size(), 1u);
  EXPECT_EQ(follower.stream->sent[0].batches(0).term(), 1);
  EXPECT_EQ(follower.stream->sent[0].term(), 1);
}

TEST_F(MetadataFeedTest, ForeignersAndNonsenseAreTurnedAway) {
  const auto code = [](const Follower& follower) {
    return follower.stream->closed.has_value()
               ? CodeOf(*follower.stream->closed)
               : ErrorCode::kNone;
  };
  EXPECT_EQ(code(Follow(0, ClusterId(Uuid(9, 9)))),
            ErrorCode::kInconsistentClusterId);
  EXPECT_EQ(code(Follow(-1)), ErrorCode::kInvalidRequest);
  EXPECT_EQ(code(Follow(0, ClusterId())), ErrorCode::kNone);  // a newcomer
  log_.SetClusterId(ClusterId());
  EXPECT_EQ(code(Follow(0)), ErrorCode::kNotController);
  EXPECT_EQ(feed_.follower_count(), 1u);
}

TEST_F(MetadataFeedTest, SoManyFollowersAreTheLimit) {
  std::vector<Follower> followers;
  for (size_t i = 0; i < MetadataFeed::kFollowersMax; ++i) {
    followers.push_back(Follow(0));
  }
  const Follower extra = Follow(0);
  ASSERT_TRUE(extra.stream->closed.has_value());
  EXPECT_EQ(CodeOf(*extra.stream->closed), ErrorCode::kBusy);
  followers.back().events.on_closed(absl::OkStatus());
  EXPECT_FALSE(Follow(0).stream->closed.has_value());
}

TEST_F(MetadataFeedTest, ABrokenStoreIsFatal) {
  for (int i = 0; i < 30; ++i) Commit(500'000);
  log_.BreakStore();
  Follow(0);
  ASSERT_EQ(fatal_.size(), 1u);
  EXPECT_EQ(CodeOf(fatal_[0]), ErrorCode::kStorageError);
}

TEST_F(MetadataFeedTest, StopClosesEveryStream) {
  const Follower follower = Follow(0);
  feed_.CloseAll(MakeError(ErrorCode::kShuttingDown, "stopping"));
  ASSERT_TRUE(follower.stream->closed.has_value());
  EXPECT_EQ(feed_.follower_count(), 0u);
}

}  // namespace
}  // namespace sluice
