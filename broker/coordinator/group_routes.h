// Where the coordinator of a group is, by the metadata, and the way there.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/coordinator/group_errors.h"
#include "client/peers/group_peer.h"
#include "common/api/log_api.h"
#include "common/base/ids.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/metadata/image.h"

namespace sluice::coordinator {

// ---- Where ----

struct Coordinator {
  NodeId node = kNoNode;  // kNoNode: nobody leads
  TopicPartition tp;
  api::Endpoint public_endpoint;    // no host: not known
  api::Endpoint internal_endpoint;  // likewise
};

// COORDINATOR_NOT_AVAILABLE: there is no __consumer_offsets in `image`.
absl::StatusOr<Coordinator> CoordinatorOf(const MetadataImage& image,
                                          const std::string& group);
Coordinator CoordinatorOf(const MetadataImage& image, const TopicImage& topic,
                          PartitionIndex partition);
// Null: it was not made yet.
const TopicImage* OffsetsTopic(const MetadataImage& image);

// ---- The way ----

// Calls to other coordinators. A call makes one hop: what came from another
// broker is not handed on again.
class GroupRoutes {
 public:
  // One an address; the one that was asked for longest ago gives way, and its
  // calls under way fail.
  static constexpr size_t kPeersMax = 1'000;
  // Of a call whose caller gave no deadline. A join may take as long as its
  // caller likes.
  static constexpr int64_t kTimeoutDefaultUs = 30'000'000;
  // How long before its own end a call's handler here must have the answer.
  static constexpr int64_t kMarginUs = 100'000;

  struct Deps {
    NodeId self;
    Executor* worker = nullptr;
    const Clock* clock = nullptr;
    GroupConnector* connector = nullptr;  // null: nothing is handed on
  };

  explicit GroupRoutes(Deps deps) : deps_(std::move(deps)) {}

  // What `context` asks is to be handed to `to`.
  bool HandsOn(const api::CallContext& context, const Coordinator& to) const;
  int64_t TimeLeftUs(const api::CallContext& context) const;
  // On the worker.
  std::shared_ptr<GroupPeer> At(const api::Endpoint& endpoint);

 private:
  struct Entry {
    std::shared_ptr<GroupPeer> peer;
    uint64_t used = 0;
  };

  const Deps deps_;
  // On the worker.
  std::map<api::Endpoint, Entry> peers_;
  uint64_t uses_ = 0;
};

// NOT_COORDINATOR or, where nobody leads, COORDINATOR_NOT_AVAILABLE.
Refusal RefusalBy(NodeId self, const Coordinator& coordinator);
// What a call that was handed to `coordinator` is answered when that did not:
// a refusal of the whole call, or COORDINATOR_NOT_AVAILABLE when nobody knows
// what became of it.
Refusal HandingOnFailed(const Coordinator& coordinator,
                        const absl::Status& why);

}  // namespace sluice::coordinator
