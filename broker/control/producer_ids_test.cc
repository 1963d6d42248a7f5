#include "broker/control/producer_ids.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "broker/control/fake_controllers_testing.h"
#include "common/base/error.h"

namespace sluice {
namespace {

using internal::v1::AllocateProducerIdsRequest;
using internal::v1::AllocateProducerIdsResponse;
using v1::InitProducerIdRequest;
using v1::InitProducerIdResponse;

constexpr int64_t kFirst = 5000;

class ProducerIdsTest : public testing::Test {
 protected:
  ProducerIdsTest() {
    ids_ = std::make_unique<ProducerIds>(Deps());
    fake_.StartWithActive(1);
    for (int id = 1; id <= 3; ++id) {
      fake_.at(id).allocate_producer_ids =
          [this](const AllocateProducerIdsRequest& request)
          -> absl::StatusOr<AllocateProducerIdsResponse> {
        EXPECT_EQ(request.broker_id(), 4);
        EXPECT_EQ(request.broker_epoch(), epoch_.value());
        return NextBlock();
      };
    }
  }
  ProducerIds::Deps Deps() {
    ProducerIds::Deps deps;
    deps.executor = fake_.executor.get();
    deps.clock = &fake_.world;
    deps.directory = fake_.directory.get();
    deps.node_id = NodeId(4);
    deps.own_epoch = [this] { return epoch_; };
    deps.on_stale = [this](absl::Status why) { stale_.push_back(CodeOf(why)); };
    deps.image = [this] { return image_; };
    return deps;
  }
  AllocateProducerIdsResponse NextBlock() {
    AllocateProducerIdsResponse response;
    response.set_first_producer_id(next_);
    response.set_count(block_size_);
    next_ += block_size_;
    return response;
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }
  int Calls() { return fake_.CallsOf("AllocateProducerIds"); }

  void Ask(const InitProducerIdRequest& request = {},
           int64_t timeout_ms = 60'000) {
    api::CallContext context;
    context.deadline_us = fake_.world.MonoMicros() + timeout_ms * 1000;
    ids_->Init(context, request,
               [this](absl::StatusOr<InitProducerIdResponse> answer) {
                 answers_.push_back(std::move(answer));
               });
  }
  absl::StatusOr<InitProducerIdResponse> Answer(
      const InitProducerIdRequest& request = {}) {
    answers_.clear();
    Ask(request);
    Run(50);
    EXPECT_EQ(answers_.size(), 1u);
    return answers_.empty() ? absl::UnknownError("no answer") : answers_[0];
  }
  ErrorCode RefusalOf(const InitProducerIdRequest& request) {
    return CodeOf(Answer(request).status());
  }
  static InitProducerIdRequest GoOnWith(int64_t id, int32_t epoch) {
    InitProducerIdRequest request;
    request.set_producer_id(id);
    request.set_producer_epoch(epoch);
    return request;
  }
  void GivenUpTo(int64_t end) {
    internal::v1::MetadataBatch batch;
    auto* record = batch.add_records()->mutable_producer_ids();
    record->set_first_producer_id(kFirst);
    record->set_next_producer_id(end);
    image_ = ApplyBatch(*MetadataImage::Empty(), batch, LogIndex(7), Term(1))
                 ->image;
  }

  ControlWorld fake_;
  BrokerEpoch epoch_{17};
  std::shared_ptr<const MetadataImage> image_ = MetadataImage::Empty();
  int64_t next_ = kFirst;
  int32_t block_size_ = 1000;
  std::vector<absl::StatusOr<InitProducerIdResponse>> answers_;
  std::vector<ErrorCode> stale_;
  std::unique_ptr<ProducerIds> ids_;
};

TEST_F(ProducerIdsTest, EachCallGetsAnIdOfItsOwnWithEpochZero) {
  for (int i = 0; i < 5; ++i) Ask();
  Run(50);
  ASSERT_EQ(answers_.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(answers_[i]->producer_id(), kFirst + i);
    EXPECT_EQ(answers_[i]->producer_epoch(), 0);
  }
  EXPECT_EQ(Calls(), 1);
}

TEST_F(ProducerIdsTest, F77ABlockFetchedBeforeServesWithoutControllers) {
  ids_->Prefetch();
  Run(50);
  EXPECT_EQ(Calls(), 1);
  ids_->Prefetch();  // there are enough
  Run(50);
  EXPECT_EQ(Calls(), 1);
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = false;
  Ask();
  Run(1);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(answers_[0]->producer_id(), kFirst);
}

TEST_F(ProducerIdsTest, IP5NoIdTwiceOverManyBlocks) {
  block_size_ = 130;
  for (int i = 0; i < 1500; ++i) Ask();
  Run(1000);
  std::set<int64_t> given;
  for (const auto& answer : answers_) given.insert(answer->producer_id());
  EXPECT_EQ(given.size(), 1500u);
}

TEST_F(ProducerIdsTest, TheNextBlockComesBeforeTheLastIdIsGone) {
  for (int i = 0; i < 900; ++i) Ask();
  Run(50);
  EXPECT_EQ(Calls(), 1);
  Ask();
  Run(50);
  EXPECT_EQ(Calls(), 2);
  // The controllers may be away for what is left of both.
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = false;
  answers_.clear();
  for (int i = 0; i < 1099; ++i) Ask();
  Run(1);
  ASSERT_EQ(answers_.size(), 1099u);
  for (const auto& answer : answers_) EXPECT_TRUE(answer.ok());
}

TEST_F(ProducerIdsTest, CallsWaitForAControllerAndNoLongerThanTheyMay) {
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = false;
  Ask({}, /*timeout_ms=*/1000);
  Ask({}, /*timeout_ms=*/90'000);
  Run(940);
  EXPECT_TRUE(answers_.empty());
  Run(20);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(CodeOf(answers_[0].status()), ErrorCode::kRequestTimedOut);
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = true;
  Run(3000);
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_EQ(answers_[1]->producer_id(), kFirst);
}

TEST_F(ProducerIdsTest, WhoWaitsLongerThanOneAttemptIsAnsweredStill) {
  for (int id = 1; id <= 3; ++id) fake_.at(id).mute = true;
  Ask();
  Run(29'000);
  Ask();  // waits when the call for a block is given up
  Run(2'000);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(CodeOf(answers_[0].status()), ErrorCode::kRequestTimedOut);
  for (int id = 1; id <= 3; ++id) fake_.at(id).mute = false;
  Run(10'000);
  ASSERT_EQ(answers_.size(), 2u);
  EXPECT_TRUE(answers_[1].ok()) << answers_[1].status();
}

TEST_F(ProducerIdsTest, WaitersAreBounded) {
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = false;
  for (size_t i = 0; i <= ProducerIds::kWaitersMax; ++i) Ask();
  Run(10);
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(CodeOf(answers_[0].status()), ErrorCode::kBusy);
}

TEST_F(ProducerIdsTest, ABrokerThatIsNotRegisteredSendsToAnother) {
  epoch_ = kNoBrokerEpoch;
  EXPECT_EQ(RefusalOf({}), ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(Calls(), 0);
}

TEST_F(ProducerIdsTest, AStaleEpochIsToldAndTheCallersAreSentOn) {
  fake_.at(1).allocate_producer_ids = [](const AllocateProducerIdsRequest&) {
    return absl::StatusOr<AllocateProducerIdsResponse>(
        MakeError(ErrorCode::kStaleBrokerEpoch, "epoch 18 is registered"));
  };
  EXPECT_EQ(RefusalOf({}), ErrorCode::kBrokerNotAvailable);
  ASSERT_EQ(stale_.size(), 1u);
  EXPECT_EQ(stale_[0], ErrorCode::kStaleBrokerEpoch);
}

TEST_F(ProducerIdsTest, IP5ABlockThatWasGivenBeforeIsRefused) {
  EXPECT_TRUE(Answer().ok());
  next_ = kFirst + 1;  // what is asked for next begins within the first block
  answers_.clear();
  for (int i = 0; i < 1000; ++i) Ask();
  Run(50);
  std::set<int64_t> given;
  int refused = 0;
  for (const auto& answer : answers_) {
    if (answer.ok()) {
      given.insert(answer->producer_id());
    } else {
      EXPECT_EQ(CodeOf(answer.status()), ErrorCode::kUnknownServerError);
      ++refused;
    }
  }
  EXPECT_EQ(given.size(), 999u);
  EXPECT_EQ(refused, 1);
}

TEST_F(ProducerIdsTest, BlocksThatAreNoneAreRefused) {
  for (const auto& [first, count] :
       {std::pair<int64_t, int32_t>{-1, 10}, {10, 0}, {10, -3},
        {10, ProducerIds::kBlockSizeMax + 1},
        {std::numeric_limits<int64_t>::max() - 3, 10}}) {
    fake_.at(1).allocate_producer_ids =
        [first = first, count = count](const AllocateProducerIdsRequest&) {
          AllocateProducerIdsResponse response;
          response.set_first_producer_id(first);
          response.set_count(count);
          return absl::StatusOr<AllocateProducerIdsResponse>(response);
        };
    EXPECT_EQ(RefusalOf({}), ErrorCode::kUnknownServerError)
        << first << ", " << count;
  }
}

TEST_F(ProducerIdsTest, AKnownIdGoesOnUnderTheNextEpoch) {
  GivenUpTo(kFirst + 1000);
  const auto answer = Answer(GoOnWith(kFirst + 999, 4));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->producer_id(), kFirst + 999);
  EXPECT_EQ(answer->producer_epoch(), 5);
  EXPECT_EQ(Calls(), 0);
}

TEST_F(ProducerIdsTest, AfterTheLastEpochComesANewId) {
  GivenUpTo(kFirst + 1000);
  next_ = kFirst + 1000;
  const auto last = Answer(GoOnWith(kFirst, 32'766));
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->producer_epoch(), 32'767);
  const auto answer = Answer(GoOnWith(kFirst, 32'767));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->producer_id(), kFirst + 1000);
  EXPECT_EQ(answer->producer_epoch(), 0);
}

TEST_F(ProducerIdsTest, AnIdThatThisBrokerHasNotHeardOfYetIsReplaced) {
  const auto answer = Answer(GoOnWith(kFirst + 70'000, 2));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->producer_id(), kFirst);
  EXPECT_EQ(answer->producer_epoch(), 0);
}

TEST_F(ProducerIdsTest, BadRequestsAreNamed) {
  GivenUpTo(kFirst + 1000);
  InitProducerIdRequest transactional;
  transactional.set_transactional_id("t");
  EXPECT_EQ(RefusalOf(transactional), ErrorCode::kInvalidRequest);
  InitProducerIdRequest half;
  half.set_producer_id(kFirst);
  EXPECT_EQ(RefusalOf(half), ErrorCode::kInvalidRequest);
  InitProducerIdRequest other_half;
  other_half.set_producer_epoch(0);
  EXPECT_EQ(RefusalOf(other_half), ErrorCode::kInvalidRequest);
  for (const auto& request :
       {GoOnWith(-1, 0), GoOnWith(kFirst - 1, 0), GoOnWith(kFirst, -1),
        GoOnWith(kFirst, 32'768)}) {
    EXPECT_EQ(RefusalOf(request), ErrorCode::kInvalidProducerIdMapping)
        << request.ShortDebugString();
  }
  EXPECT_EQ(Calls(), 0);
}

TEST_F(ProducerIdsTest, StopAnswersWhoWaits) {
  for (int id = 1; id <= 3; ++id) fake_.at(id).up = false;
  Ask();
  Run(10);
  ids_->Stop();
  ASSERT_EQ(answers_.size(), 1u);
  EXPECT_EQ(CodeOf(answers_[0].status()), ErrorCode::kShuttingDown);
  EXPECT_EQ(RefusalOf({}), ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace sluice
