#include "broker/shard_context.h"

namespace sluice {

void ShardContext::SendRemove(const LeaderLink& link, const TopicPartition& tp,
                              const Question& question) {
  if (!links_open.contains(link)) return;
  auto& removes = outgoing[link].removes;
  // A frame holds many pieces of one partition.
  if (!removes.empty() && removes.back().tp == tp &&
      removes.back().leader_epoch == question.leader_epoch &&
      removes.back().add_number == question.number) {
    return;
  }
  removes.push_back({tp, question.leader_epoch, question.number});
  flush_outgoing_soon();
}

bool ShardContext::WantLink(const LeaderLink& link) {
  if (links_open.contains(link)) return true;
  const auto endpoint = EndpointOf(link.leader, kInternalListener);
  if (!endpoint.has_value()) return false;
  if (links_wanted.insert(link).second) deps.links->Want(link, *endpoint);
  return true;
}

ReplicaShipper* ShardContext::ShipperOf(NodeId broker, StreamKind kind) const {
  const auto found = session_of.find({broker, kind});
  if (found == session_of.end()) return nullptr;
  const auto session = sessions.find(found->second);
  return session == sessions.end() ? nullptr : session->second.get();
}

std::optional<api::Endpoint> ShardContext::EndpointOf(
    NodeId broker, std::string_view listener) const {
  const BrokerImage* known =
      image == nullptr ? nullptr : image->FindBroker(broker);
  const auto* found =
      known == nullptr ? nullptr : known->FindListener(listener);
  if (found == nullptr) return std::nullopt;
  return api::Endpoint{found->endpoint().host(), found->endpoint().port()};
}

api::LeaderHint ShardContext::HintTo(NodeId leader, LeaderEpoch epoch) const {
  api::LeaderHint hint;
  hint.leader_id = leader;
  hint.leader_epoch = epoch;
  if (auto endpoint = EndpointOf(leader, kPublicListener)) {
    hint.endpoint = *std::move(endpoint);
  }
  return hint;
}

}  // namespace sluice
