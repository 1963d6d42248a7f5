// A log that an election has cut below what a stream's group stands at (F32).
#include <variant>

#include "broker/consume_driver/consume_stream_testing.h"

namespace sluice {
namespace {

class ConsumeCutsTest : public ConsumeStreamTest {
 protected:
  // Where the newest subscription to partition 0 was to begin.
  std::optional<Offset> Start() {
    std::optional<Offset> start;
    for (const auto& subscription : subscriptions_) {
      for (const auto& request : subscription->requests) {
        for (const auto& partition : request.partitions) {
          const Offset* offset = std::get_if<Offset>(&partition.start);
          if (offset != nullptr) start = *offset;
        }
      }
    }
    return start;
  }
  // The results that say that a log was cut.
  std::vector<v1::ConsumeCommit> Cuts() const {
    std::vector<v1::ConsumeCommit> cuts;
    for (const ConsumePush& push : client_->pushed) {
      for (const auto& result : push.message.committed().results()) {
        if (result.error().code() == v1::ERROR_CODE_LOG_TRUNCATED) {
          cuts.push_back(result);
        }
      }
    }
    return cuts;
  }
};

TEST_F(ConsumeCutsTest, ALogThatWasNotCutIsReadFromWhereTheGroupStands) {
  group_.committed = 10;
  group_.committed_epoch = 3;
  const auto session = Open(client_);
  ASSERT_EQ(epoch_asked_.size(), 1u);
  EXPECT_EQ(epoch_asked_[0].leader_epoch, LeaderEpoch(3));
  EXPECT_EQ(epoch_asked_[0].topic.id, orders_.topic_id);
  EXPECT_EQ(Start(), Offset(10));
  EXPECT_TRUE(Cuts().empty());
}

TEST_F(ConsumeCutsTest, ACutBelowWhatWasCommittedIsToldAndReadFromThere) {
  group_.committed = 10;
  group_.committed_epoch = 3;
  epoch_end_ = EpochEnd{LeaderEpoch(2), Offset(5)};
  const auto session = Open(client_);
  ASSERT_EQ(Cuts().size(), 1u);
  EXPECT_EQ(Cuts()[0].topic().name(), "orders");
  EXPECT_EQ(Cuts()[0].offset(), 5);
  EXPECT_NE(Cuts()[0].error().message().find("cut to offset 5 below offset 10"),
            std::string::npos)
      << Cuts()[0].error().message();
  EXPECT_EQ(Start(), Offset(5));
  // Told once, and what is read of the new history may be committed.
  EXPECT_EQ(epoch_asked_.size(), 2u);
  EXPECT_EQ(epoch_asked_[1].leader_epoch, LeaderEpoch(2));
  Push(7);
  session->OnRequest(AckMessage(7));
  Run();
  ASSERT_EQ(group_.commits.size(), 1u);
  EXPECT_EQ(group_.commits[0].offsets(0).offset(), 7);
  EXPECT_EQ(Cuts().size(), 1u);
}

TEST_F(ConsumeCutsTest, WithoutAPolicyTheStreamEnds) {
  group_.committed = 10;
  group_.committed_epoch = 3;
  epoch_end_ = EpochEnd{LeaderEpoch(3), Offset(9)};
  reset_ = v1::ConsumeOpen::RESET_NONE;
  const auto session = Open(client_);
  Run(kSecondUs);
  ASSERT_TRUE(client_->finished.has_value());
  EXPECT_EQ(CodeOf(*client_->finished), ErrorCode::kLogTruncated);
  EXPECT_EQ(Start(), std::nullopt);
}

TEST_F(ConsumeCutsTest, AnotherLeaderIsAskedBeforeReadingGoesOn) {
  const auto session = Open(client_);
  EXPECT_TRUE(epoch_asked_.empty()) << "nothing was read";
  Push(7);
  epoch_end_ = EpochEnd{kNoLeaderEpoch, kNoOffset};  // it knows nothing as old
  Push(0, ErrorCode::kNotLeader);
  Run(kSecondUs);
  ASSERT_EQ(Cuts().size(), 1u);
  EXPECT_EQ(Cuts()[0].offset(), 0);
  EXPECT_EQ(Start(), Offset(0));
}

TEST_F(ConsumeCutsTest, WhoCannotAnswerIsAskedAgain) {
  group_.committed = 10;
  group_.committed_epoch = 3;
  epoch_error_ = api::ItemError(ErrorCode::kNotLeader, "as the test wants");
  const auto session = Open(client_);
  Run(kSecondUs);
  EXPECT_GT(epoch_asked_.size(), 1u);
  EXPECT_EQ(Start(), std::nullopt);
  epoch_error_ = {};
  Run(2 * kSecondUs);
  EXPECT_EQ(Start(), Offset(10));
}

}  // namespace
}  // namespace sluice
