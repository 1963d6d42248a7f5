// More partitions for topics, and the topics that the cluster makes for itself.
#include <utility>
#include <vector>

#include "broker/control/admin_handlers.h"
#include "broker/control/metadata_answers.h"
#include "common/base/error.h"
#include "controller/metadata/control_result.h"

namespace sluice {
namespace {

// What this broker knew of a topic when the request came.
struct Known {
  std::string id;  // "": nothing
  int32_t partition_count = 0;
};

// An attempt whose answer got lost may have added them already.
void ForgetOwnGrowth(const v1::CreatePartitionsRequest& request,
                     const std::vector<Known>& known, bool uncertain,
                     v1::CreatePartitionsResponse& response) {
  if (response.results_size() != request.topics_size()) return;
  for (int i = 0; i < response.results_size(); ++i) {
    v1::CreatePartitionsResult& result = *response.mutable_results(i);
    const v1::NewPartitions& asked = request.topics(i);
    *result.mutable_topic() = asked.topic();
    const bool there_now =
        result.error().code() == v1::ERROR_CODE_INVALID_PARTITIONS &&
        result.partition_count() == asked.total_count();
    if (uncertain && there_now && !known[i].id.empty() &&
        known[i].partition_count < asked.total_count()) {
      result.clear_error();
    }
  }
}

}  // namespace

void AdminHandlers::CreatePartitions(
    const api::CallContext& context, v1::CreatePartitionsRequest request,
    PeerReply<v1::CreatePartitionsResponse> reply) {
  Run<v1::CreatePartitionsResponse>(
      std::move(reply), [this, context, request = std::move(request)](
                            PeerReply<v1::CreatePartitionsResponse> answer) {
        GrowNow(context, request, std::move(answer));
      });
}

void AdminHandlers::GrowNow(const api::CallContext& context,
                            const v1::CreatePartitionsRequest& request,
                            PeerReply<v1::CreatePartitionsResponse> reply) {
  using Response = v1::CreatePartitionsResponse;
  const auto deadline_us =
      CheckChange(context, request.topics_size(), request.timeout_ms());
  if (!deadline_us.ok()) {
    reply(deadline_us.status());
    return;
  }
  // By id from the second attempt on, as in DeleteNow (MD7).
  v1::CreatePartitionsRequest by_id = request;
  std::vector<Known> known;
  for (v1::NewPartitions& asked : *by_id.mutable_topics()) {
    v1::Error none;
    const TopicImage* topic =
        FindTopicRef(*deps_.image(), asked.topic(), &none);
    known.emplace_back();
    if (topic == nullptr) continue;
    known.back() = {topic->id.ToBytes(),
                    static_cast<int32_t>(topic->partitions.size())};
    asked.mutable_topic()->set_id(topic->id.ToBytes());
  }
  Change<Response>(
      *deadline_us, request.validate_only(),
      [request, by_id = std::move(by_id), again = false](
          ControllerPeer* peer, int64_t timeout_us,
          PeerReply<Response> r) mutable {
        const bool second = std::exchange(again, true);
        peer->CreatePartitions(second ? by_id : request, timeout_us,
                               std::move(r));
      },
      [request, known = std::move(known)](Response& response, bool uncertain) {
        ForgetOwnGrowth(request, known, uncertain, response);
      },
      std::move(reply));
}

void AdminHandlers::EnsureInternalTopic(
    const std::string& name, int64_t deadline_us,
    PeerReply<internal::v1::EnsureInternalTopicResponse> reply) {
  using Request = internal::v1::EnsureInternalTopicRequest;
  using Response = internal::v1::EnsureInternalTopicResponse;
  Request request;
  request.set_name(name);
  Run<Response>(
      std::move(reply),
      [this, deadline_us, request = std::move(request)](
          PeerReply<Response> answer) {
        Change<Response>(
            deadline_us, false,
            [request](ControllerPeer* peer, int64_t timeout_us,
                      PeerReply<Response> r) {
              peer->EnsureInternalTopic(request, timeout_us, std::move(r));
            },
            [](Response&, bool) {}, std::move(answer));
      });
}

}  // namespace sluice
