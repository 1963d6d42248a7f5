#include "broker/broker_identity.h"

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

BrokerIdentity BrokerIdentityOf(const Broker::Deps& deps,
                                const std::vector<LogDirectory*>& directories,
                                Random& random) {
  BrokerIdentity identity;
  identity.node_id = deps.node_id;
  identity.incarnation = IncarnationId(random.NextUuid());
  identity.cluster_name = deps.cluster_name;
  identity.listeners = {Listener(kPublicListener, deps.public_endpoint),
                        Listener(kInternalListener, deps.internal_endpoint)};
  identity.rack = deps.rack;
  identity.boot_id = deps.boot_id;
  for (const LogDirectory* directory : directories) {
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
