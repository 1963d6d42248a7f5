// A program that watches all metadata and keeps what it is told.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "client/peers/broker_peer.h"
#include "controller/metadata/image.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

// Folds images and changes as WatchMetadataResponse says they are to be, at one
// broker after another: what it has then is what the cluster has (MD1).
class MetadataWatcher {
 public:
  struct Deps {
    SimCluster* cluster = nullptr;
    int64_t move_every_us = 1'000'000;  // to another broker
    std::function<void(const std::string&)> report;
  };
  explicit MetadataWatcher(Deps deps);
  ~MetadataWatcher();

  void Start();
  // It stays where it is.
  void Settle() { settled_ = true; }
  // What it has and `image` has not, or has otherwise; "": nothing.
  std::string WhyDiffers(const MetadataImage& image) const;

 private:
  struct Topic {
    std::string id;
    std::map<int32_t, v1::PartitionMetadata> partitions;
  };
  struct Known {
    std::map<std::string, Topic> topics;
    std::set<int32_t> brokers;
  };

  void Open();
  void OpenLater();
  void OnTold(const v1::WatchMetadataResponse& told);
  static void Fold(const v1::WatchMetadataResponse& told, Known& into);
  static std::string WhyDiffers(const TopicImage& want, const Topic& got);

  const Deps deps_;
  const LifePtr life_;
  Random random_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<BrokerConnector> connector_;
  std::shared_ptr<MetadataWatchSender> watch_;  // null: none is open
  uint64_t number_ = 0;                         // of the watch
  Known known_;
  Known image_;              // being told
  int64_t offset_ = -1;      // of what was told last, by this watch
  bool in_image_ = false;
  bool settled_ = false;
};

}  // namespace sluice::sim
