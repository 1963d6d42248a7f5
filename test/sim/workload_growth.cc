// What grows while a run goes on: topics get partitions, the cluster its
// internal topic.
#include <utility>

#include "common/base/str_cat.h"
#include "controller/metadata/internal_topics.h"
#include "test/sim/sim_client.h"
#include "test/sim/workload.h"

namespace sluice::sim {
namespace {

constexpr int64_t kAdminTimeoutUs = 30'000'000;
constexpr int64_t kEnsureEveryUs = 1'000'000;

}  // namespace

// What is refused is: the topic is gone, or has so many.
void Workload::GrowTopics() {
  if (stopped_) return;
  executor_->PostAfter(grow_random_.Between(1, 2 * plan_->load.grow_every_us),
                       [this] { GrowTopics(); });
  if (made_topics_.empty()) return;
  const std::string& name =
      made_topics_[grow_random_.Below(made_topics_.size())];
  v1::CreatePartitionsRequest request;
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name(name);
  topic->set_total_count(static_cast<int>(grow_random_.Between(2, 6)));
  const OpenCalls::Id call =
      calls_.Begin(StrCat("CreatePartitions ", name), kAdminTimeoutUs);
  operator_->admin().CreatePartitions(
      request, kAdminTimeoutUs,
      [this, call](const auto&) { calls_.End(call); });
}

// As brokers would ask on a group's first call: whichever controller is active
// makes it, on the brokers that are alive then.
void Workload::EnsureInternal() {
  if (stopped_) return;
  executor_->PostAfter(kEnsureEveryUs, [this] { EnsureInternal(); });
  internal::v1::EnsureInternalTopicRequest request;
  request.set_name(kConsumerOffsetsTopic);
  for (const int id : cluster_->controller_ids()) {
    if (!cluster_->up(id) || cluster_->at(id).controller == nullptr) continue;
    cluster_->at(id).controller->api().EnsureInternalTopic(request,
                                                           [](const auto&) {});
  }
}

}  // namespace sluice::sim
