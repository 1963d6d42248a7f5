#include "broker/broker_opening.h"

#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "controller/metadata/image.h"

namespace sluice {
namespace {

internal::v1::BrokerListener Listener(const char* name,
                                      const api::Endpoint& endpoint) {
  internal::v1::BrokerListener listener;
  listener.set_name(name);
  listener.set_protocol("GRPC");
  listener.set_authenticator("NONE");
  listener.mutable_endpoint()->set_host(endpoint.host);
  listener.mutable_endpoint()->set_port(endpoint.port);
  return listener;
}

}  // namespace

absl::StatusOr<Directories> OpenDirectories(const Broker::Deps& deps,
                                            Random& random) {
  Directories opened;
  DirStore::Expected expected;
  expected.node_id = deps.node_id;
  for (const Broker::DataDirectory& configured : deps.directories) {
    LogDirectory::Deps world;
    world.fs = deps.fs;
    world.sync_executor = configured.sync_executor;
    world.io_executor = deps.io_executor;
    world.on_fatal = deps.on_fatal;
    world.random_seed = random.Next64();
    world.clock = deps.clock;
    ASSIGN_OR_RETURN(
        auto directory,
        LogDirectory::Open(std::move(world), configured.path, expected,
                           deps.boot_id));
    // All that have an owner must have the same one.
    if (directory->cluster_id_at_start().is_set()) {
      expected.cluster_id = directory->cluster_id_at_start();
    }
    opened.push_back(std::move(directory));
  }
  return opened;
}

BrokerIdentity IdentityOf(const Broker::Deps& deps,
                          const Directories& directories, Random& random) {
  BrokerIdentity identity;
  identity.node_id = deps.node_id;
  identity.incarnation = IncarnationId(random.NextUuid());
  identity.cluster_name = deps.cluster_name;
  identity.listeners = {Listener(kPublicListener, deps.public_endpoint),
                        Listener(kInternalListener, deps.internal_endpoint)};
  identity.rack = deps.rack;
  identity.boot_id = deps.boot_id;
  for (const auto& directory : directories) {
    if (directory->cluster_id_at_start().is_set()) {
      identity.cluster_id = directory->cluster_id_at_start();
    }
    auto& told = identity.directories.emplace_back();
    const PreviousRun& before = directory->previous_run();
    told.set_id(directory->id().ToBytes());
    told.set_clean_broker_epoch(
        before.clean_broker_epoch.value_or(kNoBrokerEpoch).value());
    told.set_last_boot_id(before.boot_id);
  }
  return identity;
}

}  // namespace sluice
