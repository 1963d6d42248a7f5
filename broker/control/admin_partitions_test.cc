// More partitions, and internal topics, at a broker: decided by the active
// controller, answered once the broker's own metadata has them.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "broker/control/admin_world_testing.h"
#include "common/base/error.h"
#include "controller/metadata/internal_topics.h"

namespace sluice {
namespace {

class AdminPartitionsTest : public AdminTest {
 protected:
  using Response = v1::CreatePartitionsResponse;

  AdminPartitionsTest() {
    tp_ = cluster_.CreateOn("t", {1, 2}, {}, 2);
    image_ = cluster_.shared();
    Start(Deps());
    fake_.at(1).create_partitions =
        [this](const v1::CreatePartitionsRequest& request)
        -> absl::StatusOr<Response> {
      if (before_answer_ != nullptr) std::exchange(before_answer_, nullptr)();
      auto decided = Decide(request);
      if (std::exchange(answer_is_lost_, false)) {
        return absl::UnavailableError("reset");
      }
      return decided;
    };
    fake_.at(1).ensure_internal_topic =
        [this](const internal::v1::EnsureInternalTopicRequest& request)
        -> absl::StatusOr<internal::v1::EnsureInternalTopicResponse> {
      const absl::Status made = cluster_.EnsureInternal(request.name());
      if (!made.ok()) return made;
      internal::v1::EnsureInternalTopicResponse response;
      response.set_metadata_offset(cluster_.image().offset().value());
      return response;
    };
  }
  absl::StatusOr<Response> Decide(const v1::CreatePartitionsRequest& request) {
    asked_.push_back(request);
    auto result = TopicControl(cluster_.image(), cluster_.configs())
                      .CreatePartitions(request, cluster_.random());
    if (!result.ok()) return result.status();
    if (!request.validate_only()) cluster_.Apply(result->batch);
    result->response.set_metadata_offset(cluster_.image().offset().value());
    return result->response;
  }
  static v1::CreatePartitionsRequest To(int total) {
    v1::CreatePartitionsRequest request;
    auto* topic = request.add_topics();
    topic->mutable_topic()->set_name("t");
    topic->set_total_count(total);
    return request;
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  TopicPartition tp_;
  std::vector<v1::CreatePartitionsRequest> asked_;
  std::function<void()> before_answer_;  // to the next request
  bool answer_is_lost_ = false;          // of the next request
};

TEST_F(AdminPartitionsTest, NewPartitionsAreAnsweredOnceThisBrokerKnowsThem) {
  Caught<Response> caught;
  admin_->CreatePartitions(context_, To(5), caught.Reply());
  Run(1'000);
  EXPECT_EQ(caught.times, 0);  // committed, but not here yet
  Publish();
  ASSERT_EQ(caught.times, 1);
  ASSERT_TRUE(caught.answer.ok()) << caught.answer.status();
  EXPECT_FALSE(caught.answer->results(0).has_error());
  EXPECT_EQ(caught.answer->results(0).partition_count(), 5);
  EXPECT_EQ(caught.answer->results(0).topic().name(), "t");
}

TEST_F(AdminPartitionsTest, ValidateOnlyWaitsForNothing) {
  Caught<Response> caught;
  auto request = To(5);
  request.set_validate_only(true);
  admin_->CreatePartitions(context_, request, caught.Reply());
  Run(10);
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).partition_count(), 5);
  EXPECT_EQ(cluster_.image().FindTopic("t")->partitions.size(), 2u);
}

TEST_F(AdminPartitionsTest, BadRequestsAreRefusedBeforeTheyAreForwarded) {
  v1::CreatePartitionsRequest many;
  for (int i = 0; i < 1001; ++i) many.add_topics();
  auto late = To(5);
  late.set_timeout_ms(-1);
  for (const auto& bad : {v1::CreatePartitionsRequest(), many, late}) {
    Caught<Response> caught;
    admin_->CreatePartitions(context_, bad, caught.Reply());
    Run(10);
    EXPECT_EQ(caught.code(), ErrorCode::kInvalidRequest);
  }
  EXPECT_TRUE(asked_.empty());
}

TEST_F(AdminPartitionsTest, WhatALostAttemptHasAddedIsNoError) {
  answer_is_lost_ = true;
  Caught<Response> caught;
  admin_->CreatePartitions(context_, To(5), caught.Reply());
  Run(2'000);
  Publish();
  ASSERT_EQ(caught.times, 1);
  ASSERT_TRUE(caught.answer.ok()) << caught.answer.status();
  EXPECT_FALSE(caught.answer->results(0).has_error())
      << caught.answer->results(0).error().message();
  EXPECT_EQ(caught.answer->results(0).partition_count(), 5);
  ASSERT_EQ(asked_.size(), 2u);
  EXPECT_EQ(asked_[1].topics(0).topic().id(), tp_.topic_id.ToBytes());
}

// A topic that is made again under the name meanwhile is another one (MD7).
TEST_F(AdminPartitionsTest, ASecondAttemptDoesNotGrowANewTopic) {
  answer_is_lost_ = true;
  before_answer_ = [this] {
    v1::DeleteTopicsRequest gone;
    gone.add_topics()->set_name("t");
    cluster_.Apply(TopicControl(cluster_.image(), cluster_.configs())
                       .Delete(gone)
                       ->batch);
    cluster_.CreateOn("t", {1}, {}, 5);  // has so many already
  };
  Caught<Response> caught;
  admin_->CreatePartitions(context_, To(5), caught.Reply());
  Run(2'000);
  Publish();
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_ID);
  EXPECT_EQ(cluster_.image().FindTopic("t")->partitions.size(), 5u);
}

TEST_F(AdminPartitionsTest, WhatWasThereBeforeIsAnErrorAlsoTheSecondTime) {
  answer_is_lost_ = true;
  Caught<Response> caught;
  admin_->CreatePartitions(context_, To(2), caught.Reply());
  Run(2'000);
  Publish();
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).error().code(),
            v1::ERROR_CODE_INVALID_PARTITIONS);
}

TEST_F(AdminPartitionsTest, AnInternalTopicIsThereWhenItIsAnswered) {
  using Ensured = internal::v1::EnsureInternalTopicResponse;
  Caught<Ensured> first;
  Caught<Ensured> second;
  const int64_t deadline_us = fake_.world.MonoMicros() + 10'000'000;
  admin_->EnsureInternalTopic(kConsumerOffsetsTopic, deadline_us,
                              first.Reply());
  admin_->EnsureInternalTopic(kConsumerOffsetsTopic, deadline_us,
                              second.Reply());
  Run(1'000);
  EXPECT_EQ(first.times + second.times, 0);
  Publish();
  ASSERT_EQ(first.times, 1);
  ASSERT_EQ(second.times, 1);
  EXPECT_TRUE(first.answer.ok()) << first.answer.status();
  EXPECT_TRUE(second.answer.ok()) << second.answer.status();
  EXPECT_EQ(image_->FindTopic(kConsumerOffsetsTopic)->partitions.size(), 16u);
  Caught<Ensured> other;
  admin_->EnsureInternalTopic("__other", deadline_us, other.Reply());
  Run(1'000);
  ASSERT_EQ(other.times, 1);
  EXPECT_EQ(other.code(), ErrorCode::kInvalidTopic);
}

}  // namespace
}  // namespace sluice
