// The producer ids that a broker gives out, one a call, from blocks that the
// active controller gave it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/control/controller_directory.h"
#include "common/api/log_api.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "sluice/v1/transaction.pb.h"

namespace sluice {

// A block is this broker's alone, for ever (IP5): what a process has left of
// one at its end is never given. The next block is asked for before the last
// ids of the one before are gone, and one is on its way at a time.
//
// Init may be called on any thread; the rest belongs to the control executor.
class ProducerIds {
 public:
  static constexpr int64_t kAttemptUs = 2000000;
  // A call waits so long for a block, or to its deadline.
  static constexpr int64_t kWaitUs = 30000000;
  // Answers leave so long before the caller's deadline.
  static constexpr int64_t kDeadlineMarginUs = 50000;
  // The next block is asked for when fewer ids are left.
  static constexpr int64_t kRefillBelow = 100;
  // Calls that wait for a block; more are BUSY.
  static constexpr size_t kWaitersMax = 2000;
  // Beyond what a controller gives: an answer with more is refused.
  static constexpr int32_t kBlockSizeMax = 1000000;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    NodeId node_id;
    // kNoBrokerEpoch while not registered: no block can be asked for.
    std::function<BrokerEpoch()> own_epoch;
    // A controller does not know own_epoch.
    std::function<void(absl::Status)> on_stale;
    std::function<std::shared_ptr<const MetadataImage>()> image;
  };

  explicit ProducerIds(Deps deps);
  ~ProducerIds();
  ProducerIds(const ProducerIds&) = delete;

  // BrokerApi::InitProducerId. INVALID_REQUEST, INVALID_PRODUCER_ID_MAPPING
  // (transaction.proto says when); BUSY, REQUEST_TIMED_OUT (no controller gave
  // a block in time), BROKER_NOT_AVAILABLE (not registered, or not any more),
  // SHUTTING_DOWN: nothing was given, ask again or another broker.
  void Init(const api::CallContext& context, v1::InitProducerIdRequest request,
            PeerReply<v1::InitProducerIdResponse> reply);
  // Asks for a block when few ids are left, so for the first one: whoever starts a producer while no controller is
  // there finds ids (F77). On the control executor, once registered.
  void Prefetch();
  // Answers what waits with SHUTTING_DOWN.
  void Stop();

 private:
  struct Block {
    ProducerId next;
    ProducerId end;
  };
  struct Waiter {
    PeerReply<v1::InitProducerIdResponse> reply;
    TimerId timer = 0;
  };
  using Allocated = internal::v1::AllocateProducerIdsResponse;

  void InitNow(const api::CallContext& context,
               const v1::InitProducerIdRequest& request,
               PeerReply<v1::InitProducerIdResponse> reply);
  // An answer that takes no new id: the next epoch of a known one. nullopt: a
  // new id is due.
  absl::StatusOr<std::optional<v1::InitProducerIdResponse>> NextEpoch(
      const v1::InitProducerIdRequest& request) const;
  // The next id, if there is one; asks for a block in time.
  std::optional<ProducerId> Take();
  void Wait(int64_t deadline_us, PeerReply<v1::InitProducerIdResponse> reply);
  void OnWaiterLate(uint64_t id);
  void Refill();
  void OnBlock(absl::StatusOr<Allocated> answer);
  absl::Status AddBlock(const Allocated& answer);
  void AnswerWaiters();
  void FailWaiters(const absl::Status& why);

  Deps deps_;
  std::deque<Block> blocks_;
  ProducerId highest_end_{0};  // of all blocks so far
  bool refilling_ = false;
  bool stopped_ = false;
  uint64_t next_waiter_ = 1;
  std::map<uint64_t, Waiter> waiters_;  // in the order in which they came
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
