// A small cluster for metadata fuzzing: three brokers that are alive, one topic
// of two partitions. Shared with the seeds, whose records fit it.
#pragma once

#include <memory>

#include "common/base/invariant.h"
#include "controller/metadata/delta.h"

namespace sluice::fuzz {

// Of its only batch; its brokers' epoch.
inline constexpr LogIndex kSmallClusterOffset{1};

inline TopicId SmallTopic() { return TopicId(Uuid(1, 1)); }

inline internal::v1::MetadataBatch SmallClusterBatch() {
  internal::v1::MetadataBatch batch;
  batch.add_records()->mutable_feature_level()->set_level(kFeatureLevelMax);
  for (int32_t id = 1; id <= 3; ++id) {
    auto* broker = batch.add_records()->mutable_register_broker();
    broker->set_broker_id(id);
    broker->set_incarnation_id(Uuid(2, static_cast<uint64_t>(id)).ToBytes());
    broker->add_directories(Uuid(3, static_cast<uint64_t>(id)).ToBytes());
    auto* listener = broker->add_listeners();
    listener->set_name(kInternalListener);
    listener->mutable_endpoint()->set_host("h");
    listener->mutable_endpoint()->set_port(9);
    auto* change = batch.add_records()->mutable_broker_change();
    change->set_broker_id(id);
    change->set_broker_epoch(kSmallClusterOffset.value());
    change->set_fenced(false);
  }
  auto* topic = batch.add_records()->mutable_topic();
  topic->set_name("t");
  topic->set_id(SmallTopic().ToBytes());
  for (int32_t index = 0; index < 2; ++index) {
    auto* partition = batch.add_records()->mutable_partition();
    partition->set_topic_id(SmallTopic().ToBytes());
    partition->set_partition(index);
    for (int32_t id = 1; id <= 3; ++id) {
      partition->add_replicas(id);
      partition->add_directories(Uuid(3, static_cast<uint64_t>(id)).ToBytes());
      partition->add_isr(id);
      partition->add_last_full_isr(id);
    }
    partition->set_leader(1);
    partition->set_last_unclean_leader_epoch(-1);
  }
  return batch;
}

inline std::shared_ptr<const MetadataImage> SmallCluster() {
  const auto applied = ApplyBatch(*MetadataImage::Empty(), SmallClusterBatch(),
                                  kSmallClusterOffset, Term(1));
  INVARIANT(applied.ok(), applied.status().ToString());
  return applied->image;
}

}  // namespace sluice::fuzz
