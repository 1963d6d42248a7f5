#include "broker/handlers/leader_calls.h"

#include <algorithm>
#include <string>

namespace sluice {

std::optional<LeaderCalls::Leader> LeaderCalls::Elsewhere(
    const MetadataImage& image, const TopicPartition& tp) const {
  const PartitionImage* partition = image.FindPartition(tp);
  if (partition == nullptr || partition->leader == kNoNode ||
      partition->leader == deps_.self) {
    return std::nullopt;
  }
  const BrokerImage* broker = image.FindBroker(partition->leader);
  const auto* listener =
      broker == nullptr ? nullptr : broker->FindListener(kInternalListener);
  if (listener == nullptr) return std::nullopt;
  return Leader{partition->leader,
                {listener->endpoint().host(), listener->endpoint().port()}};
}

int64_t LeaderCalls::TimeLeftUs(int64_t deadline_us) const {
  const int64_t now_us = deps_.clock->MonoMicros();
  return std::clamp<int64_t>(deadline_us - now_us, 0, kTimeoutMaxUs);
}

std::shared_ptr<LeaderPeer> LeaderCalls::At(const api::Endpoint& endpoint) {
  const auto found = peers_.find(endpoint);
  if (found != peers_.end()) {
    found->second.used = ++uses_;
    return found->second.peer;
  }
  if (peers_.size() >= kPeersMax) {
    peers_.erase(std::min_element(
        peers_.begin(), peers_.end(), [](const auto& a, const auto& b) {
          return a.second.used < b.second.used;
        }));
  }
  Entry& entry = peers_[endpoint];
  entry.peer = deps_.connector->Connect(endpoint, deps_.worker);
  entry.used = ++uses_;
  return entry.peer;
}

api::ItemError ForwardFailure(const LeaderCalls::Leader& leader,
                              const absl::Status& why, ErrorCode lost) {
  const ErrorCode code = CodeOf(why);
  const bool unheard = code == ErrorCode::kBrokerNotAvailable ||
                       code == ErrorCode::kRequestTimedOut ||
                       code == ErrorCode::kUnknownServerError;
  return api::ItemError(
      MakeError(unheard ? lost : code, "broker ", leader.id,
                ", the leader, was handed this call and did not answer it: ",
                std::string(why.message()),
                lost == ErrorCode::kRequestTimedOut && unheard
                    ? "; the outcome is unknown"
                    : "; try again"));
}

}  // namespace sluice
