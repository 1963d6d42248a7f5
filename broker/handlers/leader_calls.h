// The way to the brokers that lead what this one does not.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "client/peers/leader_peer.h"
#include "common/api/log_api.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/metadata/image.h"

namespace sluice {

// For calls with Route::kForward. What is handed on goes out with
// Route::kDirect: a call makes one hop, and two brokers that take each other
// for a leader send nothing round in circles. How many calls may be under way
// at a leader its internal listener says, with BUSY.
class LeaderCalls {
 public:
  // One an address; the one that was asked for longest ago gives way, and its
  // calls under way fail.
  static constexpr size_t kPeersMax = 1'000;
  // A call that its caller gave no deadline.
  static constexpr int64_t kTimeoutMaxUs = 30'000'000;
  // How long before its own end a call's handler here must have the answer.
  static constexpr int64_t kMarginUs = 100'000;

  struct Leader {
    NodeId id;
    api::Endpoint endpoint;  // of its internal listener

    auto operator<=>(const Leader&) const = default;
  };

  struct Deps {
    NodeId self;
    Executor* worker = nullptr;  // what comes back runs here
    const Clock* clock = nullptr;
    LeaderConnector* connector = nullptr;
  };

  explicit LeaderCalls(Deps deps) : deps_(std::move(deps)) {}
  LeaderCalls(const LeaderCalls&) = delete;

  // Any thread. nullopt: this broker leads it, or nobody does that could be
  // asked; the partition itself then answers here.
  std::optional<Leader> Elsewhere(const MetadataImage& image,
                                  const TopicPartition& tp) const;
  // Until `deadline_us`, kTimeoutMaxUs at most.
  int64_t TimeLeftUs(int64_t deadline_us) const;

  // On the worker.
  std::shared_ptr<LeaderPeer> At(const api::Endpoint& endpoint);

  Executor* worker() const { return deps_.worker; }
  const Clock& clock() const { return *deps_.clock; }

 private:
  struct Entry {
    std::shared_ptr<LeaderPeer> peer;
    uint64_t used = 0;
  };

  const Deps deps_;
  // On the worker.
  std::map<api::Endpoint, Entry> peers_;
  uint64_t uses_ = 0;
};

// What a partition is answered when `leader` did not: its refusal of the whole
// call, or `lost` when nobody knows what became of it.
api::ItemError ForwardFailure(const LeaderCalls::Leader& leader,
                              const absl::Status& why, ErrorCode lost);

}  // namespace sluice
