#include "broker/control/admin_handlers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "broker/control/admin_world_testing.h"
#include "common/base/error.h"
#include "controller/metadata/control_result.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class AdminHandlersTest : public AdminTest {
 protected:
  AdminHandlersTest() {
    AdminHandlers::Deps deps = Deps();
    deps.cluster_name = "test";
    deps.cluster_id = [] { return TestCluster::cluster_id(); };
    deps.last_contact_us = [this] { return last_contact_us_; };
    deps.full_directories = [this] { return full_directories_; };
    deps.closed_views = [this] { return closed_views_; };
    deps.describe_logs =
        [this](std::vector<TopicPartition> asked,
               absl::AnyInvocable<void(std::vector<v1::PartitionLog>)> done) {
          std::vector<v1::PartitionLog> logs;
          for (const TopicPartition& tp : asked) {
            described_.push_back(tp);
            logs.emplace_back().set_high_watermark(70 + tp.partition.value());
          }
          done(std::move(logs));
        };
    Start(std::move(deps));
    // The active controller decides with the real controls.
    fake_.at(1).create_topics = [this](const v1::CreateTopicsRequest& request) {
      return Carry<v1::CreateTopicsResponse>(
          TopicControl(cluster_.image(), cluster_.configs())
              .Create(request, internal::v1::TopicRecord::KIND_USER,
                      cluster_.random()),
          request.validate_only());
    };
    fake_.at(1).delete_topics = [this](const v1::DeleteTopicsRequest& request) {
      deletes_.push_back(request);
      return Carry<v1::DeleteTopicsResponse>(
          TopicControl(cluster_.image(), cluster_.configs()).Delete(request),
          request.validate_only());
    };
  }
  template <class Response>
  absl::StatusOr<Response> Carry(ControlResultOr<Response> result,
                                 bool validate_only) {
    if (!result.ok()) return result.status();
    if (!validate_only) cluster_.Apply(result->batch);
    result->response.set_metadata_offset(cluster_.image().offset().value());
    return result->response;
  }
  static v1::CreateTopicsRequest NewTopic(const std::string& name) {
    v1::CreateTopicsRequest request;
    request.add_topics()->set_name(name);
    return request;
  }
  static v1::DeleteTopicsRequest OldTopic(const std::string& name) {
    v1::DeleteTopicsRequest request;
    request.add_topics()->set_name(name);
    return request;
  }
  void Run(int64_t ms) { fake_.world.RunFor(ms * 1000); }

  int64_t last_contact_us_ = 0;
  std::vector<std::string> full_directories_;
  std::vector<std::pair<std::string, absl::Status>> closed_views_;
  std::vector<TopicPartition> described_;
  std::vector<v1::DeleteTopicsRequest> deletes_;
};

TEST_F(AdminHandlersTest, ACreatedTopicIsAnsweredOnceThisBrokerKnowsIt) {
  Caught<v1::CreateTopicsResponse> caught;
  admin_->CreateTopics(context_, NewTopic("t"), caught.Reply());
  Run(1'000);
  EXPECT_EQ(caught.times, 0);  // committed, but not here yet
  Publish();
  ASSERT_EQ(caught.times, 1);
  EXPECT_FALSE(caught.answer->results(0).has_error());
}

TEST_F(AdminHandlersTest, TheDeadlineEndsTheWaitForTheImageNotTheSuccess) {
  Caught<v1::CreateTopicsResponse> caught;
  auto request = NewTopic("t");
  request.set_timeout_ms(2'000);
  admin_->CreateTopics(context_, request, caught.Reply());
  Run(2'100);
  ASSERT_EQ(caught.times, 1);
  EXPECT_TRUE(caught.answer.ok());
}

TEST_F(AdminHandlersTest, ValidateOnlyWaitsForNothingAndChangesNothing) {
  Caught<v1::CreateTopicsResponse> caught;
  auto request = NewTopic("t");
  request.set_validate_only(true);
  admin_->CreateTopics(context_, request, caught.Reply());
  Run(10);
  EXPECT_EQ(caught.times, 1);
  EXPECT_EQ(cluster_.image().FindTopic("t"), nullptr);
}

TEST_F(AdminHandlersTest, BadRequestsAreRefusedBeforeTheyAreForwarded) {
  Caught<v1::CreateTopicsResponse> caught;
  admin_->CreateTopics(context_, {}, caught.Reply());
  Run(10);
  EXPECT_EQ(caught.code(), ErrorCode::kInvalidRequest);
  auto request = NewTopic("t");
  request.set_timeout_ms(-1);
  admin_->CreateTopics(context_, request, caught.Reply());
  Run(10);
  EXPECT_EQ(caught.code(), ErrorCode::kInvalidRequest);
  request = {};
  for (int i = 0; i <= kTopicsPerCallMax; ++i) {
    request.add_topics()->set_name("t");
  }
  admin_->CreateTopics(context_, request, caught.Reply());
  Run(10);
  EXPECT_EQ(caught.code(), ErrorCode::kInvalidRequest);
  EXPECT_EQ(fake_.CallsOf("CreateTopics"), 0);
}

TEST_F(AdminHandlersTest, WithoutAControllerNothingWasChanged) {
  fake_.directory->Doubt(NodeId(1));
  fake_.SetActive(-1);
  Caught<v1::CreateTopicsResponse> caught;
  auto request = NewTopic("t");
  request.set_timeout_ms(500);
  admin_->CreateTopics(context_, request, caught.Reply());
  Run(600);
  EXPECT_EQ(caught.code(), ErrorCode::kRequestTimedOut);
}

TEST_F(AdminHandlersTest, AnswersLeaveBeforeTheCallersDeadline) {
  fake_.at(1).mute = true;
  context_.deadline_us = fake_.world.MonoMicros() + 1'000'000;
  Caught<v1::CreateTopicsResponse> caught;
  admin_->CreateTopics(context_, NewTopic("t"), caught.Reply());
  Run(1'000);
  EXPECT_EQ(caught.times, 1);
  // An attempt was out: it may be carried out still.
  EXPECT_EQ(caught.code(), ErrorCode::kOutcomeUnknown);
}

TEST_F(AdminHandlersTest, ATopicThatALostAttemptMayHaveMadeIsNotAnError) {
  // The first attempt is carried out, its answer is lost.
  Caught<v1::CreateTopicsResponse> caught;
  const auto decide = fake_.at(1).create_topics;
  fake_.at(1).create_topics = [&](const v1::CreateTopicsRequest& request)
      -> absl::StatusOr<v1::CreateTopicsResponse> {
    (void)decide(request);
    return absl::UnavailableError("reset");
  };
  admin_->CreateTopics(context_, NewTopic("t"), caught.Reply());
  Run(1);
  fake_.at(1).create_topics = decide;
  Run(1'000);
  Publish();
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).error().code(),
            v1::ERROR_CODE_OUTCOME_UNKNOWN);
}

TEST_F(AdminHandlersTest, ATopicThatWasThereBeforeIsAnError) {
  cluster_.CreateOn("t", {1});
  Publish();
  Caught<v1::CreateTopicsResponse> caught;
  const auto decide = fake_.at(1).create_topics;
  fake_.at(1).create_topics = [](const auto&)
      -> absl::StatusOr<v1::CreateTopicsResponse> {
    return absl::UnavailableError("reset");
  };
  admin_->CreateTopics(context_, NewTopic("t"), caught.Reply());
  Run(1);
  fake_.at(1).create_topics = decide;
  Run(1'000);
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).error().code(),
            v1::ERROR_CODE_TOPIC_ALREADY_EXISTS);
}

TEST_F(AdminHandlersTest, ADeletionIsRetriedByIdSoThatANewTopicSurvives) {
  const TopicPartition old = cluster_.CreateOn("t", {1});  // MD7
  Publish();
  const auto decide = fake_.at(1).delete_topics;
  fake_.at(1).delete_topics = [&](const v1::DeleteTopicsRequest& request)
      -> absl::StatusOr<v1::DeleteTopicsResponse> {
    (void)decide(request);
    return absl::UnavailableError("reset");
  };
  Caught<v1::DeleteTopicsResponse> caught;
  admin_->DeleteTopics(context_, OldTopic("t"), caught.Reply());
  Run(1);
  cluster_.CreateOn("t", {1});  // somebody makes it anew meanwhile
  fake_.at(1).delete_topics = decide;
  Run(1'000);
  Publish();
  ASSERT_EQ(caught.times, 1);
  EXPECT_NE(cluster_.image().FindTopic("t"), nullptr);
  // It was there and is gone: done, as asked.
  const auto& result = caught.answer->results(0);
  EXPECT_FALSE(result.has_error()) << result.error().message();
  EXPECT_EQ(result.name(), "t");
  EXPECT_EQ(result.topic().name(), "t");
  ASSERT_THAT(deletes_, SizeIs(2));
  EXPECT_EQ(deletes_[1].topics(0).id(), old.topic_id.ToBytes());
}

TEST_F(AdminHandlersTest, DeletingWhatWasNeverThereIsAnError) {
  Caught<v1::DeleteTopicsResponse> caught;
  admin_->DeleteTopics(context_, OldTopic("nope"), caught.Reply());
  Run(10);
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->results(0).error().code(),
            v1::ERROR_CODE_UNKNOWN_TOPIC_OR_PARTITION);
}

TEST_F(AdminHandlersTest, ChangesUnderWayAreBounded) {
  fake_.at(1).mute = true;
  std::vector<std::unique_ptr<Caught<v1::CreateTopicsResponse>>> all;
  for (size_t i = 0; i <= AdminHandlers::kChangesMax; ++i) {
    all.push_back(std::make_unique<Caught<v1::CreateTopicsResponse>>());
    admin_->CreateTopics(context_, NewTopic("t"), all.back()->Reply());
  }
  Run(10);
  EXPECT_EQ(all.front()->times, 0);
  EXPECT_EQ(all.back()->code(), ErrorCode::kBusy);
}

// ---- Reads ----

v1::DescribeQuorumResponse QuorumOfThree(int64_t contact_2, int64_t contact_3) {
  v1::DescribeQuorumResponse response;
  response.set_leader_id(1);
  for (int id = 1; id <= 3; ++id) response.add_voters()->set_id(id);
  response.mutable_voters(0)->set_is_leader(true);
  response.mutable_voters(1)->set_last_contact_ms(contact_2);
  response.mutable_voters(2)->set_last_contact_ms(contact_3);
  return response;
}

TEST_F(AdminHandlersTest, AControllerThatIsDownIsAnIssue) {
  v1::DescribeQuorumResponse quorum = QuorumOfThree(20, 3'000);
  fake_.at(1).describe_quorum = [&](const auto&)
      -> absl::StatusOr<v1::DescribeQuorumResponse> { return quorum; };
  const auto issues = [&] {
    Caught<v1::DescribeClusterResponse> caught;
    admin_->DescribeCluster(context_, {}, caught.Reply());
    Run(10);
    EXPECT_TRUE(caught.answer.ok());
    return std::vector<v1::HealthIssue>(caught.answer->issues().begin(),
                                        caught.answer->issues().end());
  };
  ASSERT_THAT(issues(), SizeIs(1));
  EXPECT_EQ(issues()[0].kind(), v1::HealthIssue::KIND_CONTROLLER_DOWN);
  EXPECT_THAT(issues()[0].message(),
              HasSubstr("controller 3 was last heard 3 s ago; of 3 controllers "
                        "0 more may fail; start it"));
  quorum = QuorumOfThree(20, -1);
  quorum.add_observers()->set_id(3);
  ASSERT_THAT(issues(), SizeIs(1));
  EXPECT_THAT(issues()[0].message(), HasSubstr("only observes"));
  quorum = QuorumOfThree(20, 2'980);
  EXPECT_THAT(issues(), IsEmpty());
}

TEST_F(AdminHandlersTest, ItsOwnFullDirectoriesAreNamedFirst) {
  fake_.at(1).describe_quorum = [](const auto&)
      -> absl::StatusOr<v1::DescribeQuorumResponse> {
    return QuorumOfThree(20, 3'000);
  };
  full_directories_ = {"/disk/2"};
  Caught<v1::DescribeClusterResponse> caught;
  admin_->DescribeCluster(context_, {}, caught.Reply());
  Run(10);
  ASSERT_TRUE(caught.answer.ok());
  const v1::HealthIssue* full = nullptr;
  for (const v1::HealthIssue& issue : caught.answer->issues()) {
    if (issue.kind() == v1::HealthIssue::KIND_DISK_FULL) full = &issue;
  }
  ASSERT_NE(full, nullptr);
  EXPECT_EQ(full->broker_id(), 4);
  EXPECT_EQ(full->partition(), -1);
  EXPECT_THAT(full->message(), HasSubstr("data directory /disk/2 of broker 4"));
  EXPECT_THAT(full->message(), HasSubstr("free some there"));
}

TEST_F(AdminHandlersTest, ViewsThatCannotBeOpenedAreNamedWithTheNextStep) {
  closed_views_ = {
      {"/a/view", MakeError(ErrorCode::kStorageError, "cannot write /a/view/x: "
                                                      "Permission denied")},
      {"/b/view", MakeError(ErrorCode::kStorageFull, "/b/view has no room")}};
  Caught<v1::DescribeClusterResponse> caught;
  admin_->DescribeCluster(context_, {}, caught.Reply());
  Run(1'000);
  ASSERT_TRUE(caught.answer.ok());
  std::vector<v1::HealthIssue> views;
  for (const v1::HealthIssue& issue : caught.answer->issues()) {
    if (issue.message().find("view of committed offsets") != std::string::npos) {
      views.push_back(issue);
    }
  }
  ASSERT_THAT(views, SizeIs(2));
  for (const v1::HealthIssue& issue : views) {
    EXPECT_EQ(issue.broker_id(), 4);
    EXPECT_EQ(issue.partition(), -1);
    EXPECT_THAT(issue.topic(), IsEmpty());
    EXPECT_THAT(issue.message(), HasSubstr("without a restart"));
  }
  EXPECT_EQ(views[0].kind(), v1::HealthIssue::KIND_REPLICA_FAILED);
  EXPECT_THAT(views[0].message(),
              HasSubstr("in /a/view of broker 4 cannot be opened: cannot write "
                        "/a/view/x: Permission denied"));
  EXPECT_THAT(views[0].message(), HasSubstr("delete that directory"));
  EXPECT_EQ(views[1].kind(), v1::HealthIssue::KIND_DISK_FULL);
  EXPECT_THAT(views[1].message(), HasSubstr("free room"));
}

TEST_F(AdminHandlersTest, AnActiveControllerThatIsMuteDelaysTheAnswerOnly) {
  fake_.at(1).mute = true;
  Caught<v1::DescribeClusterResponse> caught;
  admin_->DescribeCluster(context_, {}, caught.Reply());
  Run(1'000);
  ASSERT_EQ(caught.times, 1);
  EXPECT_EQ(caught.answer->brokers_size(), 4);
}

TEST_F(AdminHandlersTest, DescribeClusterTellsWhoAnswersAndWhoIsActive) {
  fake_.at(1).describe_quorum = [](const auto&)
      -> absl::StatusOr<v1::DescribeQuorumResponse> {
    return QuorumOfThree(0, 100);
  };
  Caught<v1::DescribeClusterResponse> caught;
  admin_->DescribeCluster(context_, {}, caught.Reply());
  Run(10);
  ASSERT_TRUE(caught.answer.ok());
  EXPECT_EQ(caught.answer->answering_node_id(), 4);
  EXPECT_EQ(caught.answer->active_controller_id(), 1);
  EXPECT_EQ(caught.answer->cluster_name(), "test");
  EXPECT_EQ(caught.answer->cluster_id(), TestCluster::cluster_id().ToString());
  EXPECT_EQ(caught.answer->controllers_size(), 3);
  EXPECT_EQ(caught.answer->brokers_size(), 4);
  EXPECT_THAT(caught.answer->issues(), IsEmpty());
}

TEST_F(AdminHandlersTest, WhatPutsTheAnswerInDoubtIsTheFirstIssue) {
  fake_.directory->Doubt(NodeId(1));
  fake_.SetActive(-1);
  cluster_.Fence(2);
  image_ = cluster_.shared();
  Run(10'000);
  Caught<v1::DescribeClusterResponse> caught;
  admin_->DescribeCluster(context_, {}, caught.Reply());
  Run(1);
  ASSERT_TRUE(caught.answer.ok());
  ASSERT_GE(caught.answer->issues_size(), 3);
  EXPECT_EQ(caught.answer->issues(0).kind(),
            v1::HealthIssue::KIND_NO_CONTROLLER);
  EXPECT_EQ(caught.answer->issues(1).kind(),
            v1::HealthIssue::KIND_METADATA_STALE);
  EXPECT_EQ(caught.answer->issues(2).kind(),
            v1::HealthIssue::KIND_BROKER_FENCED);
}

TEST_F(AdminHandlersTest, WithoutMetadataNobodyIsToldThatReadsGoOn) {
  fake_.directory->Doubt(NodeId(1));
  fake_.SetActive(-1);
  Caught<v1::DescribeClusterResponse> caught;
  for (const bool has_metadata : {true, false}) {
    if (!has_metadata) image_ = MetadataImage::Empty();
    admin_->DescribeCluster(context_, {}, caught.Reply());
    Run(10'000);
    ASSERT_TRUE(caught.answer.ok());
    ASSERT_EQ(caught.answer->issues(0).kind(),
              v1::HealthIssue::KIND_NO_CONTROLLER);
    const std::string& text = caught.answer->issues(0).message();
    EXPECT_EQ(text.find("reads and writes go on") != std::string::npos,
              has_metadata)
        << text;
    EXPECT_EQ(text.find("serves nobody") == std::string::npos, has_metadata);
  }
}

TEST_F(AdminHandlersTest, BeforeTheFirstImageReadsAreRefused) {
  image_ = MetadataImage::Empty();
  Caught<v1::GetMetadataResponse> metadata;
  admin_->GetMetadata(context_, {}, metadata.Reply());
  Caught<v1::ListTopicsResponse> list;
  admin_->ListTopics(context_, {}, list.Reply());
  Caught<v1::DescribeTopicsResponse> topics;
  admin_->DescribeTopics(context_, {}, topics.Reply());
  Caught<v1::DescribeClusterResponse> whole;
  admin_->DescribeCluster(context_, {}, whole.Reply());
  Run(1'000);
  EXPECT_EQ(metadata.code(), ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(list.code(), ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(topics.code(), ErrorCode::kBrokerNotAvailable);
  ASSERT_TRUE(whole.answer.ok());
  ASSERT_EQ(whole.answer->issues_size(), 1);
  EXPECT_EQ(whole.answer->issues(0).kind(),
            v1::HealthIssue::KIND_METADATA_STALE);
}

TEST_F(AdminHandlersTest, GetMetadataCarriesErrorsOfTheWholeRequest) {
  Caught<v1::GetMetadataResponse> caught;
  v1::GetMetadataRequest request;
  request.set_page_size(-1);
  admin_->GetMetadata(context_, request, caught.Reply());
  Run(1);
  EXPECT_EQ(caught.code(), ErrorCode::kInvalidRequest);
  admin_->GetMetadata(context_, {}, caught.Reply());
  Run(1);
  ASSERT_TRUE(caught.answer.ok());
  EXPECT_EQ(caught.answer->active_controller_id(), 1);
}

TEST_F(AdminHandlersTest, EndpointsAreOfTheListenerThatWasAsked) {
  cluster_.CreateOn("t", {2});
  image_ = cluster_.shared();
  Caught<v1::GetMetadataResponse> caught;
  context_.listener = kInternalListener;
  admin_->GetMetadata(context_, {}, caught.Reply());
  Run(1);
  EXPECT_EQ(caught.answer->brokers(0).listeners(0).name(), kInternalListener);
  context_.listener = "unheard-of";
  admin_->GetMetadata(context_, {}, caught.Reply());
  Run(1);
  EXPECT_EQ(caught.answer->brokers(0).listeners(0).name(), kPublicListener);
}

TEST_F(AdminHandlersTest, LogsComeFromTheLeaderAndOthersSayWhoThatIs) {
  cluster_.CreateOn("mine", {4}, {}, 2);
  cluster_.CreateOn("other", {2});
  image_ = cluster_.shared();
  Caught<v1::DescribeTopicsResponse> caught;
  v1::DescribeTopicsRequest request;
  request.set_include_log(true);
  admin_->DescribeTopics(context_, request, caught.Reply());
  Run(1);
  ASSERT_TRUE(caught.answer.ok());
  ASSERT_EQ(caught.answer->topics_size(), 2);
  ASSERT_EQ(caught.answer->topics(0).logs_size(), 2);
  EXPECT_EQ(caught.answer->topics(0).logs(1).high_watermark(), 71);
  EXPECT_EQ(caught.answer->topics(0).logs(1).partition(), 1);
  const auto& other = caught.answer->topics(1).logs(0);
  EXPECT_EQ(other.error().code(), v1::ERROR_CODE_NOT_LEADER);
  EXPECT_THAT(other.error().message(), HasSubstr("broker 2"));
  EXPECT_THAT(described_, SizeIs(2));
}

TEST_F(AdminHandlersTest, DescribeQuorumIsTheActiveControllersWord) {
  fake_.at(1).describe_quorum = [](const auto&)
      -> absl::StatusOr<v1::DescribeQuorumResponse> {
    v1::DescribeQuorumResponse response;
    response.set_leader_id(1);
    return response;
  };
  Caught<v1::DescribeQuorumResponse> caught;
  admin_->DescribeQuorum(context_, {}, caught.Reply());
  Run(10);
  ASSERT_TRUE(caught.answer.ok());
  EXPECT_EQ(caught.answer->leader_id(), 1);
}

TEST_F(AdminHandlersTest, StoppedItAnswersWhatWasDoneAndRefusesTheRest) {
  Caught<v1::CreateTopicsResponse> waiting;
  admin_->CreateTopics(context_, NewTopic("t"), waiting.Reply());
  Run(10);
  admin_->Stop();
  EXPECT_EQ(waiting.times, 1);
  EXPECT_TRUE(waiting.answer.ok());  // it is committed
  Caught<v1::ListTopicsResponse> late;
  admin_->ListTopics(context_, {}, late.Reply());
  Run(10);
  EXPECT_EQ(late.code(), ErrorCode::kShuttingDown);
}

}  // namespace
}  // namespace sluice
