// A controller behind its service. For tests.
#pragma once

#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/str_cat.h"
#include "common/rpc/happenings_testing.h"
#include "controller/rpc/controller_service.h"

namespace sluice {

namespace iv1 = internal::v1;

// Answers with what it was told to, and keeps what it was asked.
class FakeController final : public ControllerApi {
 public:
  FakeController(Executor* executor, rpc::Happenings* log)
      : executor_(executor), log_(log) {}

  // The next answer of the method whose request type is Request.
  template <class Request, class Response>
  void WillAnswer(absl::StatusOr<Response> answer) {
    answers_[Request::descriptor()->full_name()] = std::make_shared<
        absl::StatusOr<Response>>(std::move(answer));
  }
  template <class Request>
  const Request& asked() {
    return static_cast<const Request&>(
        *asked_.at(Request::descriptor()->full_name()));
  }

  void Hello(iv1::HelloRequest q, PeerReply<iv1::HelloResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void RegisterBroker(iv1::RegisterBrokerRequest q,
                      PeerReply<iv1::RegisterBrokerResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void ReportReplicas(iv1::ReportReplicasRequest q,
                      PeerReply<iv1::ReportReplicasResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AlterPartitions(iv1::AlterPartitionsRequest q,
                       PeerReply<iv1::AlterPartitionsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AllocateProducerIds(
      iv1::AllocateProducerIdsRequest q,
      PeerReply<iv1::AllocateProducerIdsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void CreateTopics(v1::CreateTopicsRequest q,
                    PeerReply<v1::CreateTopicsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void CreatePartitions(v1::CreatePartitionsRequest q,
                        PeerReply<v1::CreatePartitionsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void EnsureInternalTopic(
      iv1::EnsureInternalTopicRequest q,
      PeerReply<iv1::EnsureInternalTopicResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void DeleteTopics(v1::DeleteTopicsRequest q,
                    PeerReply<v1::DeleteTopicsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void AlterConfigs(v1::AlterConfigsRequest q,
                    PeerReply<v1::AlterConfigsResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void ElectLeaders(v1::ElectLeadersRequest q,
                    PeerReply<v1::ElectLeadersResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  void DescribeQuorum(v1::DescribeQuorumRequest q,
                      PeerReply<v1::DescribeQuorumResponse> r) override {
    Answer(std::move(q), std::move(r));
  }
  Executor* executor() override { return executor_; }
  NodeId ActiveController() const override { return active; }

  PeerStreamEvents<iv1::LivenessRequest> AcceptLiveness(
      std::shared_ptr<PeerStream<iv1::LivenessResponse>> stream) override {
    EXPECT_TRUE(executor_->IsCurrent());
    if (!refusal.ok()) {
      stream->Close(refusal);
      return {};
    }
    liveness = std::move(stream);
    PeerStreamEvents<iv1::LivenessRequest> events;
    events.on_message = [this](iv1::LivenessRequest request) {
      EXPECT_TRUE(executor_->IsCurrent());
      heard = request;
      log_->Add(StrCat("beat ", request.applied_metadata_offset()));
    };
    events.on_closed = [this](absl::Status) { log_->Add("liveness closed"); };
    return events;
  }
  PeerStreamEvents<iv1::FollowMetadataRequest> AcceptMetadataFollower(
      iv1::FollowMetadataRequest request,
      std::shared_ptr<PeerStream<iv1::FollowMetadataResponse>> stream)
      override {
    EXPECT_TRUE(executor_->IsCurrent());
    follow = request;
    follower = std::move(stream);
    log_->Add("follow");
    if (first_piece.has_value()) follower->Send(*first_piece);
    PeerStreamEvents<iv1::FollowMetadataRequest> events;
    events.on_closed = [this](absl::Status) { log_->Add("follow closed"); };
    events.on_drained = [this] { log_->Add("drained"); };
    return events;
  }

  NodeId active = kNoNode;
  absl::Status refusal;
  std::shared_ptr<PeerStream<iv1::LivenessResponse>> liveness;
  std::shared_ptr<PeerStream<iv1::FollowMetadataResponse>> follower;
  iv1::LivenessRequest heard;
  iv1::FollowMetadataRequest follow;
  std::optional<iv1::FollowMetadataResponse> first_piece;
  // Replies that are never given.
  std::vector<std::function<void()>> kept;
  bool keep = false;

 private:
  template <class Request, class Response>
  void Answer(Request request, PeerReply<Response> reply) {
    const std::string name = Request::descriptor()->full_name();
    executor_->Post([this, name, request = std::move(request),
                     reply = std::make_shared<PeerReply<Response>>(
                         std::move(reply))] {
      if (keep) {
        kept.push_back([reply] { (*reply)(Response()); });
        log_->Add("kept");
        return;
      }
      asked_[name] = std::make_shared<Request>(request);
      (*reply)(*std::static_pointer_cast<absl::StatusOr<Response>>(
          answers_.at(name)));
    });
  }

  Executor* const executor_;
  rpc::Happenings* const log_;
  std::map<std::string, std::shared_ptr<void>> answers_;
  std::map<std::string, std::shared_ptr<google::protobuf::Message>> asked_;
};

}  // namespace sluice
