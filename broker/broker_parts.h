// What a broker is made of, and how its parts are connected.
#pragma once

#include <memory>
#include <vector>

#include "broker/broker.h"
#include "broker/broker_opening.h"
#include "broker/consume_driver/consume_handler.h"
#include "broker/control/control_side.h"
#include "broker/coordinator/group_coordinators.h"
#include "broker/coordinator/group_handlers.h"
#include "broker/coordinator/lag_monitor.h"
#include "broker/disk_watch.h"
#include "broker/handlers/delete_records_handler.h"
#include "broker/handlers/epoch_end_handler.h"
#include "broker/handlers/fetch_handler.h"
#include "broker/handlers/leader_calls.h"
#include "broker/handlers/list_offsets_handler.h"
#include "broker/handlers/produce_handler.h"
#include "broker/handlers/subscribe_handler.h"
#include "broker/io_watch.h"
#include "broker/log_directory.h"
#include "broker/replicas.h"
#include "broker/replication/follower_links.h"
#include "broker/replication/leader_sessions.h"
#include "common/base/random.h"
#include "common/env/published.h"
#include "controller/metadata/image.h"

namespace sluice {

// Destroyed in the reverse order; nothing runs then any more.
struct Broker::Parts {
  Parts(Deps given, Directories opened, Random random);

  std::unique_ptr<LeaderCalls> MakeLeaderCalls() const;
  HandlerDeps ForHandlers();
  coordinator::GroupCoordinators::Deps ForCoordinators(Random& random);
  coordinator::LagSources ForLag();
  coordinator::GroupHandlers::Deps ForGroups();
  ConsumeDeps ForConsume(Random& random);
  ControlSide::Deps ForControl();
  void AddShards();
  void WatchDisks();

  using Logs = absl::AnyInvocable<void(std::vector<v1::PartitionLog>)>;

  // On the control executor.
  void AdoptCluster(ClusterId cluster_id,
                    absl::AnyInvocable<void(absl::Status)> done);
  void OnImage(std::shared_ptr<const MetadataImage> image);
  void DescribeLogs(const std::vector<TopicPartition>& partitions,
                    Logs done);
  BrokerFacts ControlFacts() const;
  void AddMemory(v1::DescribeClusterResponse& response) const;
  // On the replication executor.
  absl::Status CheckSession(const OpenSession& open) const;

  const Deps deps;
  const Directories directories;
  const BrokerIdentity identity;
  Published<MetadataImage> image;

  IoWatch io_watch;
  ControlSide control;
  coordinator::GroupCoordinators coordinators;  // before the replicas
  Replicas replicas;
  FollowerLinks links;
  LeaderSessions sessions;
  const std::unique_ptr<LeaderCalls> leaders;  // null: hands nothing on
  ProduceHandler produce;
  FetchHandler fetch;
  ListOffsetsHandler list_offsets;
  EpochEndHandler epoch_ends;
  DeleteRecordsHandler delete_records;
  SubscribeHandler subscribe;
  coordinator::GroupHandlers groups;
  ConsumeHandler consume;
  coordinator::LagMonitor lag_monitor;

  // On the control executor.
  std::vector<std::unique_ptr<DiskWatch>> disk_watches;
  ClusterId cluster_id;
  BrokerEpoch linked_epoch = kNoBrokerEpoch;  // known to `links`
  // On the replication executor.
  ClusterId sessions_cluster_id;
};

}  // namespace sluice
