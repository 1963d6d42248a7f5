#include "broker/control/controller_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using Request = v1::DescribeQuorumRequest;
using Response = v1::DescribeQuorumResponse;
using Outcome = ControllerDirectory::Outcome<Response>;

class ControllerDirectoryTest : public testing::Test {
 protected:
  ControllerDirectory& directory() { return *fake_.directory; }
  std::shared_ptr<std::optional<Outcome>> Call(
      int64_t deadline_us = ControllerDirectory::kNoDeadline) {
    auto slot = std::make_shared<std::optional<Outcome>>();
    directory().CallActive<Response>(
        deadline_us, 1'000'000,
        [](ControllerPeer* peer, int64_t timeout_us,
           PeerReply<Response> reply) {
          peer->DescribeQuorum({}, timeout_us, std::move(reply));
        },
        [slot](Outcome outcome) {
          EXPECT_FALSE(slot->has_value());
          *slot = std::move(outcome);
        });
    return slot;
  }
  void Serve(int id) {
    fake_.at(id).describe_quorum =
        [id](const Request&) -> absl::StatusOr<Response> {
      Response response;
      response.set_leader_id(id);
      return response;
    };
  }
  void Refuse(int id, ErrorCode code) {
    fake_.at(id).describe_quorum =
        [code](const Request&) -> absl::StatusOr<Response> {
      return MakeError(code, "refused");
    };
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  ControlWorld fake_;
};

TEST_F(ControllerDirectoryTest, AsksAllUntilOneIsKnownToBeActive) {
  directory().Start();
  Run(400);
  EXPECT_EQ(directory().active(), kNoNode);
  EXPECT_GE(fake_.CallsOf("Hello"), 6);
  fake_.SetActive(2);
  Run(300);
  EXPECT_EQ(directory().active(), NodeId(2));
  EXPECT_EQ(directory().active_peer(), &fake_.at(2));
  const int asked = fake_.CallsOf("Hello");
  Run(5000);
  EXPECT_EQ(fake_.CallsOf("Hello"), asked);  // no more
}

TEST_F(ControllerDirectoryTest, AsksSlowlyWhenNobodyIsThereForLong) {  // F77
  for (int id : {1, 2, 3}) fake_.at(id).up = false;
  directory().Start();
  Run(ControllerDirectory::kPatienceUs / 1000 + 1000);
  const int before = fake_.CallsOf("Hello");
  Run(10'000);
  EXPECT_LE(fake_.CallsOf("Hello") - before, 3 * 20);
  EXPECT_GE(fake_.CallsOf("Hello") - before, 3 * 9);  // and never gives up
}

TEST_F(ControllerDirectoryTest, OlderTermsTeachNothing) {
  fake_.StartWithActive(2);
  directory().Learn(Term(5), NodeId(3));
  EXPECT_EQ(directory().active(), NodeId(3));
  directory().Learn(Term(4), NodeId(1));
  EXPECT_EQ(directory().active(), NodeId(3));
  directory().Learn(Term(6), kNoNode);  // an election is under way
  EXPECT_EQ(directory().active(), kNoNode);
  directory().Learn(Term(6), NodeId(99));  // not of the list
  EXPECT_EQ(directory().active(), kNoNode);
}

TEST_F(ControllerDirectoryTest, DoubtOfAnotherChangesNothing) {
  fake_.StartWithActive(2);
  directory().Doubt(NodeId(1));
  EXPECT_EQ(directory().active(), NodeId(2));
  directory().Doubt(NodeId(2));
  EXPECT_EQ(directory().active(), kNoNode);
}

TEST_F(ControllerDirectoryTest, ControllersOfAnotherClusterCountForNothing) {
  directory().RequireCluster(ClusterId(Uuid(9, 9)));
  fake_.SetActive(2);
  directory().Start();
  Run(1000);
  EXPECT_EQ(directory().active(), kNoNode);
}

TEST_F(ControllerDirectoryTest, ACallWaitsForAnActiveController) {
  directory().Start();
  Serve(3);
  const auto answer = Call();
  Run(500);
  EXPECT_FALSE(answer->has_value());
  fake_.SetActive(3);
  Run(500);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->response->leader_id(), 3);
  EXPECT_FALSE((*answer)->uncertain);
}

TEST_F(ControllerDirectoryTest, ARefusedCallGoesToWhoeverIsActiveThen) {
  fake_.StartWithActive(1);
  Refuse(1, ErrorCode::kNotController);
  Serve(2);
  const auto answer = Call();
  Run(1);
  fake_.SetActive(2, 2);
  Run(1000);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->response->leader_id(), 2);
  EXPECT_FALSE((*answer)->uncertain);  // nothing happened at the first
}

TEST_F(ControllerDirectoryTest, ALostAnswerMakesTheOutcomeUncertain) {
  fake_.StartWithActive(1);
  fake_.at(1).mute = true;
  const auto answer = Call();
  Run(1100);  // the attempt's timeout
  EXPECT_FALSE(answer->has_value());
  fake_.at(1).mute = false;
  Serve(1);
  Run(1000);
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((*answer)->response.ok());
  EXPECT_TRUE((*answer)->uncertain);
}

TEST_F(ControllerDirectoryTest, AnAttemptIsGivenUpForANewActiveController) {
  fake_.StartWithActive(1);
  fake_.at(1).mute = true;
  Serve(2);
  const auto answer = Call();
  Run(10);
  directory().Learn(Term(2), NodeId(2));
  Run(10);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->response->leader_id(), 2);
  EXPECT_TRUE((*answer)->uncertain);
}

TEST_F(ControllerDirectoryTest, ARefusalThatStaysIsTheAnswer) {
  fake_.StartWithActive(1);
  Refuse(1, ErrorCode::kInvalidRequest);
  const auto answer = Call();
  Run(10);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(CodeOf((*answer)->response.status()), ErrorCode::kInvalidRequest);
  EXPECT_EQ(fake_.at(1).calls["DescribeQuorum"], 1);
  EXPECT_EQ(directory().active(), NodeId(1));  // still
}

TEST_F(ControllerDirectoryTest, BusyIsTriedAgainAtTheSameController) {
  fake_.StartWithActive(1);
  Refuse(1, ErrorCode::kBusy);
  const auto answer = Call();
  Run(10);
  EXPECT_EQ(directory().active(), NodeId(1));
  Serve(1);
  Run(300);
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((*answer)->response.ok());
  EXPECT_FALSE((*answer)->uncertain);
}

TEST_F(ControllerDirectoryTest, AnErrorInTheBodyIsTheStatus) {
  fake_.StartWithActive(1);
  fake_.at(1).report_replicas = [](const auto&)
      -> absl::StatusOr<internal::v1::ReportReplicasResponse> {
    internal::v1::ReportReplicasResponse response;
    response.mutable_error()->set_code(v1::ERROR_CODE_STALE_BROKER_EPOCH);
    return response;
  };
  ErrorCode code = ErrorCode::kNone;
  directory().CallActive<internal::v1::ReportReplicasResponse>(
      ControllerDirectory::kNoDeadline, 1'000'000,
      [](ControllerPeer* peer, int64_t timeout_us, auto reply) {
        peer->ReportReplicas({}, timeout_us, std::move(reply));
      },
      [&](auto outcome) { code = CodeOf(outcome.response.status()); });
  Run(10);
  EXPECT_EQ(code, ErrorCode::kStaleBrokerEpoch);
}

TEST_F(ControllerDirectoryTest, DeadlinesTellWhetherAnAttemptWasUnderWay) {
  directory().Start();
  const auto nobody = Call(100'000);
  Run(200);
  ASSERT_TRUE(nobody->has_value());
  EXPECT_EQ(CodeOf((*nobody)->response.status()),
            ErrorCode::kRequestTimedOut);
  EXPECT_FALSE((*nobody)->uncertain);

  fake_.SetActive(1);
  Run(300);
  fake_.at(1).mute = true;
  const auto hung = Call(fake_.world.MonoMicros() + 100'000);
  Run(200);
  ASSERT_TRUE(hung->has_value());
  EXPECT_EQ(CodeOf((*hung)->response.status()), ErrorCode::kRequestTimedOut);
  EXPECT_TRUE((*hung)->uncertain);
}

TEST_F(ControllerDirectoryTest, StoppingFailsEveryCallThenAndLater) {
  fake_.StartWithActive(1);
  fake_.at(1).mute = true;
  const auto under_way = Call();
  Run(10);
  directory().Stop();
  ASSERT_TRUE(under_way->has_value());
  EXPECT_EQ(CodeOf((*under_way)->response.status()), ErrorCode::kShuttingDown);
  const auto late = Call();
  Run(10);
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ(CodeOf((*late)->response.status()), ErrorCode::kShuttingDown);
}

TEST_F(ControllerDirectoryTest, CallsUnderWayAreBounded) {
  directory().Start();
  std::vector<std::shared_ptr<std::optional<Outcome>>> calls;
  for (size_t i = 0; i <= ControllerDirectory::kCallsMax; ++i) {
    calls.push_back(Call());
  }
  Run(1);
  EXPECT_FALSE(calls.front()->has_value());
  ASSERT_TRUE(calls.back()->has_value());
  EXPECT_EQ(CodeOf((*calls.back())->response.status()), ErrorCode::kBusy);
}

TEST_F(ControllerDirectoryTest, NobodyIsAnsweredByADirectoryThatIsGone) {
  fake_.StartWithActive(1);
  Serve(1);
  const auto answer = Call();
  fake_.directory.reset();
  Run(2000);
  EXPECT_FALSE(answer->has_value());
}

}  // namespace
}  // namespace sluice
