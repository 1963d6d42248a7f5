// A gray failure: a broker that is alive gives up what others can do.
#include "controller/metadata/broker_control.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/partition_sweep.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

using internal::v1::MetadataBatch;

MetadataBatch BrokerControl::Demote(NodeId broker, BrokerEpoch epoch) {
  MetadataBatch batch;
  const BrokerImage* known = Find(broker, epoch);
  if (known == nullptr || !known->active()) return batch;
  if (!known->demoted) {
    auto* record = batch.add_records()->mutable_broker_change();
    record->set_broker_id(broker.value());
    record->set_broker_epoch(epoch.value());
    record->set_demoted(true);
  }
  SweepPartitions(
      image_, configs_, broker,
      [&](NodeId node) { return image_.IsActive(node); },
      [&](const TopicPartition& tp, const PartitionImage& partition,
          PartitionChange& change) {
        if (!Contains(partition.isr, broker)) return false;
        change.Shun(broker);
        const int others = static_cast<int>(partition.isr.size()) - 1;
        if (others >= configs_.MinIsrOf(*image_.FindTopic(tp.topic_id))) {
          change.LeaveIsr(broker);
        }
        return true;
      },
      batch);
  return batch;
}

MetadataBatch BrokerControl::ClearDemotion(NodeId broker, BrokerEpoch epoch) {
  MetadataBatch batch;
  const BrokerImage* known = Find(broker, epoch);
  if (known == nullptr || !known->demoted) return batch;
  auto* record = batch.add_records()->mutable_broker_change();
  record->set_broker_id(broker.value());
  record->set_broker_epoch(epoch.value());
  record->set_demoted(false);
  return batch;
}

}  // namespace sluice
