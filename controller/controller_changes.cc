// The changes that operators and brokers ask of the cluster's topics.
#include <glog/logging.h>

#include <utility>

#include "controller/controller.h"
#include "controller/metadata/config_control.h"
#include "controller/metadata/election_control.h"
#include "controller/metadata/internal_topics.h"
#include "controller/metadata/topic_control.h"

namespace sluice {

void Controller::CreateTopics(v1::CreateTopicsRequest request,
                              PeerReply<v1::CreateTopicsResponse> reply) {
  using Response = v1::CreateTopicsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        return TopicControl(latest, *deps_.configs)
            .Create(request, internal::v1::TopicRecord::KIND_USER, random_);
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

void Controller::CreatePartitions(
    v1::CreatePartitionsRequest request,
    PeerReply<v1::CreatePartitionsResponse> reply) {
  using Response = v1::CreatePartitionsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        return TopicControl(latest, *deps_.configs)
            .CreatePartitions(request, random_);
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

void Controller::EnsureInternalTopic(
    internal::v1::EnsureInternalTopicRequest request,
    PeerReply<internal::v1::EnsureInternalTopicResponse> reply) {
  using Response = internal::v1::EnsureInternalTopicResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        auto result = InternalTopicControl(latest, *deps_.configs)
                          .Ensure(request, random_);
        if (result.ok() && !result->batch.records().empty()) {
          LOG(INFO) << "the internal topic " << request.name()
                    << " is made on its first use";
        }
        return result;
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

void Controller::DeleteTopics(v1::DeleteTopicsRequest request,
                              PeerReply<v1::DeleteTopicsResponse> reply) {
  using Response = v1::DeleteTopicsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        return TopicControl(latest, *deps_.configs).Delete(request);
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

void Controller::ElectLeaders(v1::ElectLeadersRequest request,
                              PeerReply<v1::ElectLeadersResponse> reply) {
  using Response = v1::ElectLeadersResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        auto result = ElectionControl(latest, *deps_.configs).Elect(request);
        if (result.ok() && !result->batch.records().empty()) {
          LOG(INFO) << "an operator orders "
                    << v1::ElectLeadersRequest::Kind_Name(request.kind())
                    << " elections; " << result->batch.records_size()
                    << " partitions change";
        }
        return result;
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

void Controller::AlterConfigs(v1::AlterConfigsRequest request,
                              PeerReply<v1::AlterConfigsResponse> reply) {
  using Response = v1::AlterConfigsResponse;
  Carry<Response>(
      [this, request = std::move(request)](const MetadataImage& latest) {
        auto result = ConfigControl(latest, *deps_.configs).Alter(request);
        if (!result.ok()) return result;
        for (const auto& record : result->batch.records()) {
          if (!record.has_config()) continue;
          LOG(INFO) << "topic " << record.config().resource_name() << ": "
                    << record.config().key() << " is "
                    << (record.config().has_value()
                            ? "set to " + record.config().value()
                            : std::string("unset"));
        }
        return result;
      },
      [](Response& response, LogIndex offset) {
        response.set_metadata_offset(offset.value());
      },
      std::move(reply));
}

}  // namespace sluice
