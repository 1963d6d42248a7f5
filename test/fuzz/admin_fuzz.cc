// The controller's decisions on arbitrary requests: CreateTopics,
// CreatePartitions, DeleteTopics, AlterConfigs and ElectLeaders of any client,
// internal topics, registrations, ISR changes and verdicts of any broker
// (controller/metadata/*_control.h; correctness.md 5.3).
//
// Property: a request is refused as a whole with a code of its own, or has an
// answer a client can read, with an item for each one asked. What is decided
// applies, and leaves a consistent image: no request makes records that would
// stop the nodes that replay them. A request that is refused, or only asks to
// be validated, has no records.
//
// Input: requests, each a kind, a length and the message; they follow each
// other on a small cluster.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "controller/metadata/broker_control.h"
#include "controller/metadata/config_control.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/election_control.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/isr_control.h"
#include "controller/metadata/topic_control.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/image_checks.h"
#include "test/fuzz/metadata_start.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

constexpr int kRequestsMax = 32;
const ClusterId kCluster(Uuid(7, 7));

std::shared_ptr<const ConfigRegistry> Configs() {
  auto configs = ConfigRegistry::Make({{kMinInsyncReplicas, "2"}});
  INVARIANT(configs.ok(), configs.status().ToString());
  return *std::move(configs);
}

class ActiveController {
 public:
  ActiveController()
      : configs_(Configs()), image_(SmallCluster()), random_(1) {}

  void Request(FuzzInput& in) {
    const uint8_t kind = in.Below(11);
    const std::string_view bytes = in.Piece();
    switch (kind) {
      case 0: return Create(bytes);
      case 1: return Delete(bytes);
      case 2: return Alter(bytes);
      case 3: return Register(bytes);
      case 4: return Report(bytes);
      // Liveness, without bytes of a peer: states the others meet.
      case 5: return Apply(Brokers().Fence(Broker(bytes), Epoch(bytes)));
      case 6: return Apply(Brokers().Unfence(Broker(bytes), Epoch(bytes)));
      case 7: return Configure(bytes);
      case 8: return Elect(bytes);
      case 9: return Grow(bytes);
      default: return Ensure(bytes);
    }
  }

 private:
  template <class Message>
  static bool Parse(std::string_view bytes, Message& message) {
    return message.ParseFromArray(bytes.data(),
                                  static_cast<int>(bytes.size()));
  }
  static NodeId Broker(std::string_view bytes) {
    return NodeId(bytes.empty() ? 1 : 1 + static_cast<uint8_t>(bytes[0]) % 3);
  }
  BrokerEpoch Epoch(std::string_view bytes) const {
    return image_->FindBroker(Broker(bytes))->epoch;
  }
  BrokerControl Brokers() const { return BrokerControl(*image_, *configs_); }

  void Create(std::string_view bytes) {
    v1::CreateTopicsRequest request;
    if (!Parse(bytes, request)) return;
    const auto result =
        TopicControl(*image_, *configs_)
            .Create(request, internal::v1::TopicRecord::KIND_USER, random_);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() == request.topics_size(),
              result->response.results_size(), " answers");
    INVARIANT(!request.validate_only() || result->batch.records().empty(),
              "a validation makes records");
    Finish(*result);
  }

  void Grow(std::string_view bytes) {
    v1::CreatePartitionsRequest request;
    if (!Parse(bytes, request)) return;
    const auto result =
        TopicControl(*image_, *configs_).CreatePartitions(request, random_);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() == request.topics_size(),
              result->response.results_size(), " answers");
    INVARIANT(!request.validate_only() || result->batch.records().empty(),
              "a validation makes records");
    Finish(*result);
  }

  // With any name, and then the right one: the others meet it.
  void Ensure(std::string_view bytes) {
    internal::v1::EnsureInternalTopicRequest request;
    if (!Parse(bytes, request)) return;
    auto result =
        InternalTopicControl(*image_, *configs_).Ensure(request, random_);
    if (!result.ok()) {
      CheckRefused(result.status());
      request.set_name(kConsumerOffsetsTopic);
      result =
          InternalTopicControl(*image_, *configs_).Ensure(request, random_);
    }
    if (!result.ok()) return CheckRefused(result.status());
    Finish(*result);
    const TopicImage* made = image_->FindTopic(kConsumerOffsetsTopic);
    INVARIANT(made != nullptr && made->internal() &&
                  made->partitions.size() == kConsumerOffsetsPartitions,
              "it is not as it should be");
  }

  void Delete(std::string_view bytes) {
    v1::DeleteTopicsRequest request;
    if (!Parse(bytes, request)) return;
    const auto result = TopicControl(*image_, *configs_).Delete(request);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() == request.topics_size(),
              result->response.results_size(), " answers");
    INVARIANT(!request.validate_only() || result->batch.records().empty(),
              "a validation makes records");
    Finish(*result);
  }

  void Alter(std::string_view bytes) {
    internal::v1::AlterPartitionsRequest request;
    if (!Parse(bytes, request)) return;
    const auto result = IsrControl(*image_, *configs_).Alter(request);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() == request.partitions_size() &&
                  result->response.log_starts_size() ==
                      request.log_starts_size(),
              result->response.results_size(), " answers");
    Finish(*result);
  }

  void Register(std::string_view bytes) {
    internal::v1::RegisterBrokerRequest request;
    if (!Parse(bytes, request)) return;
    const auto result =
        Brokers().Register(request, kCluster, SessionState::kNone);
    if (!result.ok()) return CheckRefused(result.status());
    Finish(*result);
  }

  void Report(std::string_view bytes) {
    internal::v1::ReportReplicasRequest request;
    if (!Parse(bytes, request)) return;
    const auto result = Brokers().ReportReplicas(request);
    if (!result.ok()) return CheckRefused(result.status());
    Finish(*result);
  }

  void Configure(std::string_view bytes) {
    v1::AlterConfigsRequest request;
    if (!Parse(bytes, request)) return;
    const auto result = ConfigControl(*image_, *configs_).Alter(request);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() == request.resources_size(),
              result->response.results_size(), " answers");
    INVARIANT(!request.validate_only() || result->batch.records().empty(),
              "a validation makes records");
    Finish(*result);
  }

  void Elect(std::string_view bytes) {
    v1::ElectLeadersRequest request;
    if (!Parse(bytes, request)) return;
    const auto result = ElectionControl(*image_, *configs_).Elect(request);
    if (!result.ok()) return CheckRefused(result.status());
    INVARIANT(result->response.results_size() >= request.topics_size(),
              result->response.results_size(), " answers");
    INVARIANT(!request.validate_only() || result->batch.records().empty(),
              "a validation makes records");
    Finish(*result);
  }

  static void CheckRefused(const absl::Status& status) {
    // Anything that is not one of ours comes back as this.
    INVARIANT(CodeOf(status) != ErrorCode::kUnknownServerError,
              "not promised: ", status.ToString());
  }

  template <class Response>
  void Finish(const ControlResult<Response>& result) {
    // Text that is not UTF-8 would make the whole answer unreadable.
    Response read;
    INVARIANT(read.ParseFromString(result.response.SerializeAsString()),
              "no client can read the answer: ",
              result.response.ShortDebugString());
    Apply(result.batch);
  }

  void Apply(const internal::v1::MetadataBatch& batch) {
    if (batch.records().empty()) return;
    INVARIANT(batch.ByteSizeLong() <= kBatchBytesMax, "a batch of ",
              batch.ByteSizeLong(), " bytes");
    const auto applied = ApplyBatch(*image_, batch, image_->offset().Next(),
                                    image_->term());
    INVARIANT(applied.ok(), "decided, and does not apply: ",
              applied.status().ToString(), " ", batch.ShortDebugString());
    image_ = applied->image;
    CheckConsistent(*image_);
    CheckLeaders();
  }

  // RP17 and MD4, as controls promise it.
  void CheckLeaders() const {
    for (const auto& [id, topic] : image_->topics()) {
      for (const auto& [index, p] : topic->partitions) {
        INVARIANT(p->leader == kNoNode || image_->IsActive(p->leader), "RP17 ",
                  id, " ", index, " is led by ", p->leader,
                  ", which is not alive");
        INVARIANT(p->leader == kNoNode ||
                      (p->candidates.empty() && !p->unclean_ordered),
                  "RP17 candidates or an order beside a leader: ", id, " ",
                  index);
        for (const NodeId node : p->isr) {
          INVARIANT(image_->IsActive(node) && !Contains(p->elr, node) &&
                        !Contains(p->unverified_elr, node),
                    "RP17 ISR member ", node, " of ", id, " ", index);
        }
        INVARIANT(p->isr.empty() || p->leader != kNoNode, "MD4 ", id, " ",
                  index, " has an ISR and no leader");
        const auto min_isr = static_cast<size_t>(configs_->MinIsrOf(*topic));
        INVARIANT(p->isr.size() < min_isr ||
                      (p->elr.empty() && p->unverified_elr.empty()),
                  "RP17 a full ISR beside an ELR: ", id, " ", index);
      }
    }
  }

  std::shared_ptr<const ConfigRegistry> configs_;
  std::shared_ptr<const MetadataImage> image_;
  Random random_;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  sluice::fuzz::ActiveController controller;
  for (int i = 0; i < sluice::fuzz::kRequestsMax && !input.empty(); ++i) {
    controller.Request(input);
  }
  return 0;
}
