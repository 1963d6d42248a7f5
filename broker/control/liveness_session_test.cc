#include "broker/control/liveness_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using internal::v1::LivenessRequest;
using internal::v1::LivenessResponse;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class LivenessSessionTest : public testing::Test {
 protected:
  LivenessSessionTest() {
    LivenessSession::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.node_id = NodeId(4);
    deps.incarnation = IncarnationId(Uuid(3, 3));
    deps.fill = [this](LivenessRequest& request) {
      request.set_applied_metadata_offset(applied_);
    };
    deps.on_answer = [this](const LivenessResponse& answer) {
      answers_.push_back(answer);
    };
    deps.on_stale = [this](absl::Status why) { stale_.push_back(CodeOf(why)); };
    session_ = std::make_unique<LivenessSession>(std::move(deps));
    fake_.StartWithActive(1);
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }
  // Answers the newest stream of controller `id` every 100 ms.
  void Serve(int id, int64_t ms) {
    for (int64_t t = 0; t < ms; t += 100) {
      if (!fake_.at(id).sessions.empty()) {
        fake_.at(id).sessions.back()->Answer({});
      }
      Run(100);
    }
  }

  ControlWorld fake_;
  int64_t applied_ = 7;
  std::vector<LivenessResponse> answers_;
  std::vector<ErrorCode> stale_;
  std::unique_ptr<LivenessSession> session_;
};

TEST_F(LivenessSessionTest, SaysWhoItIsAndBeats) {
  session_->Open(BrokerEpoch(12));
  ASSERT_THAT(fake_.at(1).sessions, SizeIs(1));
  const auto& received = fake_.at(1).sessions[0]->received;
  ASSERT_THAT(received, SizeIs(1));
  EXPECT_EQ(received[0].broker_id(), 4);
  EXPECT_EQ(received[0].broker_epoch(), 12);
  EXPECT_EQ(received[0].incarnation_id(), Uuid(3, 3).ToBytes());
  EXPECT_EQ(received[0].applied_metadata_offset(), 7);
  EXPECT_FALSE(session_->connected());
  applied_ = 8;
  Serve(1, 900);
  EXPECT_THAT(received, SizeIs(4));  // every 300 ms
  EXPECT_EQ(received[3].applied_metadata_offset(), 8);
  EXPECT_TRUE(session_->connected());
  EXPECT_THAT(answers_, SizeIs(9));
}

TEST_F(LivenessSessionTest, BeatsOfOneMomentAreOne) {
  session_->Open(BrokerEpoch(12));
  for (int i = 0; i < 5; ++i) session_->Beat();
  Run(1);
  EXPECT_THAT(fake_.at(1).sessions[0]->received, SizeIs(2));
}

TEST_F(LivenessSessionTest, ASilentStreamIsReplaced) {
  session_->Open(BrokerEpoch(12));
  Serve(1, 500);
  Run(LivenessTimes().silence_us / 1000 + 700);
  EXPECT_FALSE(fake_.at(1).sessions[0]->open);
  EXPECT_GE(fake_.at(1).sessions.size(), 2u);
  EXPECT_TRUE(session_->is_open());
}

TEST_F(LivenessSessionTest, ABrokenStreamIsReplacedSoon) {
  session_->Open(BrokerEpoch(12));
  fake_.at(1).sessions[0]->Break(absl::UnavailableError("reset"));
  Run(500);
  EXPECT_GE(fake_.at(1).sessions.size(), 2u);
}

TEST_F(LivenessSessionTest, TheSessionMovesToANewActiveController) {
  session_->Open(BrokerEpoch(12));
  Serve(1, 200);
  fake_.directory->Learn(Term(2), NodeId(3));
  EXPECT_FALSE(fake_.at(1).sessions[0]->open);
  ASSERT_THAT(fake_.at(3).sessions, SizeIs(1));
  EXPECT_EQ(fake_.at(3).sessions[0]->received.at(0).broker_epoch(), 12);
  fake_.at(1).sessions[0]->Answer({});  // the old one's words count no more
  EXPECT_THAT(answers_, SizeIs(2));
}

TEST_F(LivenessSessionTest, WaitsForControllersWithoutEnd) {  // F77
  session_->Open(BrokerEpoch(12));
  for (int id : {1, 2, 3}) fake_.at(id).up = false;
  fake_.at(1).sessions[0]->Break(absl::UnavailableError("reset"));
  Run(600'000);
  EXPECT_TRUE(session_->is_open());
  EXPECT_THAT(stale_, IsEmpty());
  for (int id : {1, 2, 3}) fake_.at(id).up = true;
  Run(3'000);
  EXPECT_TRUE(fake_.at(1).sessions.back()->open);
  EXPECT_THAT(fake_.at(1).sessions.back()->received, testing::Not(IsEmpty()));
}

TEST_F(LivenessSessionTest, AStaleEpochClosesIt) {
  session_->Open(BrokerEpoch(12));
  LivenessResponse refused;
  refused.mutable_error()->set_code(v1::ERROR_CODE_STALE_BROKER_EPOCH);
  fake_.at(1).sessions[0]->Answer(refused);
  EXPECT_THAT(stale_, ElementsAre(ErrorCode::kStaleBrokerEpoch));
  EXPECT_FALSE(session_->is_open());
  Run(5'000);
  EXPECT_THAT(fake_.at(1).sessions, SizeIs(1));

  session_->Open(BrokerEpoch(13));  // registered again
  ASSERT_THAT(fake_.at(1).sessions, SizeIs(2));
  fake_.at(1).sessions[1]->Break(
      MakeError(ErrorCode::kBrokerIdNotRegistered, "who?"));
  EXPECT_THAT(stale_, ElementsAre(ErrorCode::kStaleBrokerEpoch,
                                  ErrorCode::kBrokerIdNotRegistered));
}

TEST_F(LivenessSessionTest, OpeningTheSameEpochAgainChangesNothing) {
  session_->Open(BrokerEpoch(12));
  session_->Open(BrokerEpoch(12));
  EXPECT_THAT(fake_.at(1).sessions, SizeIs(1));
  session_->Open(BrokerEpoch(20));
  EXPECT_THAT(fake_.at(1).sessions, SizeIs(2));
  EXPECT_FALSE(fake_.at(1).sessions[0]->open);
}

TEST_F(LivenessSessionTest, AClosedSessionIsSilent) {
  session_->Open(BrokerEpoch(12));
  session_->Beat();
  session_->Close();
  Run(5'000);
  EXPECT_FALSE(fake_.at(1).sessions[0]->open);
  EXPECT_THAT(fake_.at(1).sessions[0]->received, SizeIs(1));
  EXPECT_THAT(fake_.at(1).sessions, SizeIs(1));
}

}  // namespace
}  // namespace sluice
