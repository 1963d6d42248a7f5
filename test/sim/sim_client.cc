#include "test/sim/sim_client.h"

#include <map>
#include <string>
#include <utility>

namespace sluice::sim {

SimClient::SimClient(SimCluster* cluster, ProducerOptions producer,
                     ConsumerOptions consumer, ClientUse use)
    : cluster_(cluster), life_(std::make_shared<Life>()) {
  life_->id = NodeId(kFirstClientId + cluster->NextClient());
  life_->clock = &cluster->world();
  executor_ = cluster->world().NewExecutor();
  connector_ = cluster->network().MakeBrokerConnector(
      life_, {use.observer, use.forwards ? cluster->broker_count() : 0});
  if (use.metadata_age_ms > 0) {
    options_.metadata_age_max_ms = use.metadata_age_ms;
  }
  deps_.executor = executor_.get();
  deps_.clock = &cluster->world();
  deps_.connector = connector_.get();
  deps_.seed = cluster->random().Next64();
  for (int id = 1; id <= cluster->broker_count(); ++id) {
    options_.bootstrap.push_back(SimNetwork::PublicEndpointOf(NodeId(id)));
  }
  metadata_ = std::make_unique<MetadataCache>(deps_, options_);
  producer_ =
      std::make_unique<Producer>(deps_, options_, producer, metadata_.get());
  consumer_ =
      std::make_unique<Consumer>(deps_, options_, consumer, metadata_.get());
  admin_ = std::make_unique<Admin>(deps_, options_, metadata_.get());
}

void SimClient::ListOffsets(std::vector<NamedPartition> partitions,
                            api::OffsetPosition position, int64_t timeout_us,
                            OffsetLookup::Done done) {
  OffsetLookup::Start(deps_, options_, metadata_.get(), std::move(partitions),
                      position, timeout_us, std::move(done));
}

void SimClient::InitProducerId(NodeId broker, int64_t timeout_us,
                               PeerReply<v1::InitProducerIdResponse> reply) {
  connector_->Connect(SimNetwork::PublicEndpointOf(broker), executor_.get())
      ->InitProducerId(v1::InitProducerIdRequest(), timeout_us,
                       std::move(reply));
}

void SimClient::DeleteRecords(std::map<NamedPartition, Offset> before,
                              int64_t timeout_us, RecordDeletion::Done done) {
  RecordDeletion::Start(deps_, options_, metadata_.get(), std::move(before),
                        /*validate_only=*/false, timeout_us, std::move(done));
}

SimClient::~SimClient() { cluster_->network().Down(life_); }

}  // namespace sluice::sim
