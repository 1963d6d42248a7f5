#include "broker/control/metadata_follower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using internal::v1::FollowMetadataResponse;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class MetadataFollowerTest : public testing::Test {
 protected:
  MetadataFollowerTest() {
    MetadataFollower::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.node_id = NodeId(4);
    deps.preferred = NodeId(1);
    deps.on_image = [this](std::shared_ptr<const MetadataImage> image,
                           const MetadataChanges& changes) {
      images_.push_back(std::move(image));
      changes_.push_back(changes);
    };
    deps.on_fatal = [this](absl::Status why) { fatal_.push_back(CodeOf(why)); };
    follower_ = std::make_unique<MetadataFollower>(std::move(deps));
    cluster_.StartAll(2);
    cluster_.CreateOn("t", {1, 2});
  }
  void Start() {
    follower_->Start(TestCluster::cluster_id());
    Run(1);
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }
  const std::vector<TestCluster::LogEntry>& log() { return cluster_.log(); }
  FakeMetadata& Feed(int id) { return *fake_.at(id).feeds.back(); }
  FollowMetadataResponse Piece(size_t from, size_t end, int64_t previous) {
    return MetadataPiece(log(), from, end, previous);
  }
  FollowMetadataResponse All() { return Piece(0, log().size(), 0); }
  // The controller that is asked next must come within the pause.
  void ExpectRotation(int from, int to) {
    EXPECT_FALSE(Feed(from).open);
    Run(300);
    EXPECT_EQ(follower_->following(), NodeId(to));
    EXPECT_THAT(fake_.at(to).feeds, SizeIs(1));
  }

  ControlWorld fake_;
  TestCluster cluster_;
  std::vector<std::shared_ptr<const MetadataImage>> images_;
  std::vector<MetadataChanges> changes_;
  std::vector<ErrorCode> fatal_;
  std::unique_ptr<MetadataFollower> follower_;
};

TEST_F(MetadataFollowerTest, FollowsFromTheFirstRecordOn) {
  Start();
  ASSERT_THAT(fake_.at(1).feeds, SizeIs(1));
  EXPECT_EQ(Feed(1).received.at(0).from_offset(), 1);
  EXPECT_EQ(Feed(1).received.at(0).cluster_id(),
            TestCluster::cluster_id().ToBytes());
  Feed(1).Answer(All());
  ASSERT_THAT(images_, SizeIs(1));
  EXPECT_EQ(MetaHash(*images_[0]), MetaHash(cluster_.image()));
  EXPECT_THAT(changes_[0].topics_created, SizeIs(1));
  EXPECT_EQ(follower_->image(), images_[0]);
  // It has told who is active.
  EXPECT_EQ(fake_.directory->active(), NodeId(1));
}

TEST_F(MetadataFollowerTest, EachMessageIsOneImageWithWhatChanged) {
  Start();
  const size_t last = log().size() - 1;
  Feed(1).Answer(Piece(0, last, 0));
  Feed(1).Answer(Piece(last, last + 1, log()[last - 1].offset.value()));
  ASSERT_THAT(images_, SizeIs(2));
  EXPECT_THAT(changes_[0].topics_created, IsEmpty());
  EXPECT_THAT(changes_[1].topics_created, SizeIs(1));
  EXPECT_THAT(changes_[1].brokers_changed, IsEmpty());
}

TEST_F(MetadataFollowerTest, AnEmptyMessageIsAContactAndNoImage) {
  Start();
  Run(100);
  FollowMetadataResponse empty;
  empty.set_term(1);
  Feed(1).Answer(empty);
  EXPECT_THAT(images_, IsEmpty());
  EXPECT_EQ(follower_->last_contact_us(), fake_.world.MonoMicros());
}

TEST_F(MetadataFollowerTest, GoesOnAtTheNextControllerFromWhereItIs) {  // MD2
  Start();
  Feed(1).Answer(Piece(0, 2, 0));
  Feed(1).Break(absl::UnavailableError("reset"));
  Run(300);
  ASSERT_THAT(fake_.at(2).feeds, SizeIs(1));
  EXPECT_EQ(Feed(2).received.at(0).from_offset(),
            log()[1].offset.value() + 1);
  Feed(2).Answer(Piece(2, log().size(), log()[1].offset.value()));
  EXPECT_EQ(MetaHash(*follower_->image()), MetaHash(cluster_.image()));
  // The old stream counts no more.
  Feed(1).open = true;
  Feed(1).Answer(All());
  EXPECT_THAT(images_, SizeIs(2));
}

TEST_F(MetadataFollowerTest, ALowerTermIsRefused) {  // F22
  Start();
  FollowMetadataResponse piece = Piece(0, 2, 0);
  piece.set_term(5);
  Feed(1).Answer(piece);
  FollowMetadataResponse stale =
      Piece(2, log().size(), log()[1].offset.value());
  stale.set_term(4);
  Feed(1).Answer(stale);
  EXPECT_THAT(images_, SizeIs(1));
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, AGapIsRefused) {
  Start();
  Feed(1).Answer(Piece(1, log().size(), log()[0].offset.value()));
  EXPECT_THAT(images_, IsEmpty());
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, OffsetsThatDoNotRiseAreRefused) {
  Start();
  FollowMetadataResponse piece = All();
  piece.mutable_batches(1)->set_offset(piece.batches(0).offset());
  Feed(1).Answer(piece);
  EXPECT_THAT(images_, IsEmpty());
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, WhatIsNotCommittedIsRefused) {
  Start();
  FollowMetadataResponse piece = All();
  piece.set_committed_offset(1);
  Feed(1).Answer(piece);
  EXPECT_THAT(images_, IsEmpty());
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, ABatchOfALaterTermThanItsSenderIsRefused) {
  Start();
  FollowMetadataResponse piece = All();
  piece.mutable_batches(0)->set_term(2);
  Feed(1).Answer(piece);
  EXPECT_THAT(images_, IsEmpty());
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, AnErrorChangesTheController) {
  Start();
  FollowMetadataResponse refused;
  refused.mutable_error()->set_code(v1::ERROR_CODE_NOT_CONTROLLER);
  Feed(1).Answer(refused);
  ExpectRotation(1, 2);
}

TEST_F(MetadataFollowerTest, AControllerThatDoesNotAnswerIsLeft) {
  Start();
  Run(MetadataFollower::kFirstAnswerUs / 1000 +
      MetadataFollower::kCheckUs / 1000 + 300);
  EXPECT_FALSE(Feed(1).open);
  EXPECT_THAT(fake_.at(2).feeds, SizeIs(1));
}

TEST_F(MetadataFollowerTest, AControllerThatIsBehindIsLeft) {
  Start();
  Feed(1).Answer(Piece(0, 1, 0));
  follower_->NoteCommitted(log().back().offset);
  Run(900);
  EXPECT_TRUE(Feed(1).open);  // it may be on its way
  Run(1200);
  EXPECT_FALSE(Feed(1).open);
  EXPECT_THAT(fake_.at(2).feeds, SizeIs(1));
}

TEST_F(MetadataFollowerTest, AControllerThatKeepsSendingIsKept) {
  Start();
  follower_->NoteCommitted(log().back().offset);
  int64_t previous = 0;
  for (size_t i = 0; i < log().size(); ++i) {
    Feed(1).Answer(Piece(i, i + 1, previous));
    previous = log()[i].offset.value();
    Run(800);
    EXPECT_TRUE(Feed(1).open);
  }
}

TEST_F(MetadataFollowerTest, ARecordItDoesNotKnowIsFatal) {  // MD8, F74
  Start();
  internal::v1::MetadataBatch unknown;
  unknown.add_records();  // of no type that this program knows
  std::vector<TestCluster::LogEntry> log = {
      {unknown, LogIndex(1), Term(1)}};
  Feed(1).Answer(MetadataPiece(log, 0, 1, 0));
  EXPECT_THAT(fatal_, SizeIs(1));
  EXPECT_THAT(images_, IsEmpty());
  Run(5'000);
  EXPECT_THAT(fake_.at(2).feeds, IsEmpty());  // it does not go on elsewhere
}

TEST_F(MetadataFollowerTest, NothingComesAfterStop) {
  Start();
  follower_->Stop();
  EXPECT_FALSE(Feed(1).open);
  Run(5'000);
  EXPECT_EQ(fake_.CallsOf("FollowMetadata"), 1);
}

}  // namespace
}  // namespace sluice
