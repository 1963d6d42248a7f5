// A program that uses the client library on a simulated cluster.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "client/admin.h"
#include "client/consumer.h"
#include "client/metadata_cache.h"
#include "client/offset_lookup.h"
#include "client/producer.h"
#include "client/record_deletion.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// Of the first client; above every process's.
inline constexpr int kFirstClientId = 1000;

// How a program uses the library, beside what it sends and reads.
struct ClientUse {
  ClientObserver* observer = nullptr;  // may be null
  bool forwards = false;  // asks any broker (BrokerUse::forward_over)
  int64_t metadata_age_ms = 0;  // 0: the library's own
};

class SimClient {
 public:
  SimClient(SimCluster* cluster, ProducerOptions producer = {},
            ConsumerOptions consumer = {}, ClientUse use = {});
  ~SimClient();

  Producer& producer() { return *producer_; }
  Consumer& consumer() { return *consumer_; }
  Admin& admin() { return *admin_; }
  MetadataCache& metadata() { return *metadata_; }
  // As OffsetLookup.
  void ListOffsets(std::vector<NamedPartition> partitions,
                   api::OffsetPosition position, int64_t timeout_us,
                   OffsetLookup::Done done);
  // A new identity, of this broker; as BrokerPeer::InitProducerId.
  void InitProducerId(NodeId broker, int64_t timeout_us,
                      PeerReply<v1::InitProducerIdResponse> reply);
  // As RecordDeletion.
  void DeleteRecords(std::map<NamedPartition, Offset> before,
                     int64_t timeout_us, RecordDeletion::Done done);

 private:
  SimCluster* const cluster_;
  const LifePtr life_;
  std::unique_ptr<Executor> executor_;
  ClientDeps deps_;
  ClientOptions options_;
  std::unique_ptr<BrokerConnector> connector_;
  std::unique_ptr<MetadataCache> metadata_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
  std::unique_ptr<Admin> admin_;
};

}  // namespace sluice::sim
