// What every call of a listener passes before its handler runs.
#pragma once

#include <grpcpp/server_context.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/env/clock.h"
#include "common/rpc/channels.h"
#include "common/rpc/endable.h"
#include "common/rpc/public_methods.h"

namespace sluice::rpc {

struct GateLimits {
  // Of one request or one message of a stream: REQUEST_TOO_LARGE.
  int64_t request_bytes_max = kPublicRequestBytesMax;
  // Under way at once: BUSY. Below the transport's 1,024 streams, at which
  // calls hang in the client instead.
  int32_t calls_per_connection_max = 512;
  int32_t streams_per_connection_max = 128;
  int64_t calls_max = 65'536;  // of all connections, streams included
  // For a unary call that comes without a deadline: REQUEST_TIMED_OUT then.
  int64_t deadline_default_us = 30'000'000;
  // A longer client id is cut.
  size_t client_id_bytes_max = 255;
};

struct MethodCounts {
  int64_t calls = 0;     // admitted
  int64_t refused = 0;   // by the gate
  int64_t under_way = 0;
  int64_t request_bytes = 0;
  int64_t response_bytes = 0;
};

// Thread-safe; only AwaitIdle blocks. Owned by shared_ptr: the calls it
// admitted keep it.
class Gate : public std::enable_shared_from_this<Gate> {
 public:
  class Pass;

  // With std::make_shared. The clock outlives the listener.
  Gate(const Clock* clock, std::string listener, GateLimits limits = {});
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // The pass counts until its End(). `call` is known weakly, to be
  // ended by Sweep or Drain. REQUEST_TOO_LARGE, BUSY, SHUTTING_DOWN: the
  // caller fails the call with it and does nothing else.
  absl::StatusOr<std::unique_ptr<Pass>> Admit(
      Method method, const grpc::CallbackServerContext& context,
      int64_t request_bytes, std::weak_ptr<Endable> call);

  // One message of an admitted stream.
  absl::Status AdmitMessage(Method method, int64_t bytes);

  // Ends the calls whose default deadline has passed with REQUEST_TIMED_OUT,
  // and forgets idle connections. Every so often: the listener's on_tick.
  void Sweep();

  // From now on every call is refused with `why`; streams and long polls under
  // way are ended with it, the other calls go on.
  void Drain(const absl::Status& why);

  // Until no call is under way, `timeout_ms` at most; false when some are
  // left. Blocks: never on a thread of gRPC's.
  bool AwaitIdle(int64_t timeout_ms);

  MethodCounts CountsOf(Method method) const;
  size_t connections() const;

 private:
  struct Connection;
  struct Entry;
  struct Counters;
  using Entries = std::list<Entry>;

  Connection& ConnectionOf(const grpc::CallbackServerContext& context);
  absl::Status CheckRoom(Method method, const Connection& connection) const;
  void Release(Pass& pass);
  std::string Name(Method method) const;

  const Clock* const clock_;
  const std::string listener_;
  const GateLimits limits_;
  std::array<std::unique_ptr<Counters>, kPublicMethodCount> counters_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  // Guarded by mutex_.
  std::map<std::string, Connection> connections_;  // by gRPC's peer string
  // Under way, in the order they came: with the default deadline, without it.
  Entries timed_;
  Entries untimed_;
  std::optional<absl::Status> drained_;
};

// An admitted call. Any thread, but context() is changed by its handler alone.
class Gate::Pass {
 public:
  ~Pass() { End(); }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  // Who calls and until when, for the handler.
  api::CallContext& context() { return context_; }
  void CountResponse(int64_t bytes);
  // Before the call is answered: let go of when it is over.
  void Hold(std::shared_ptr<const void> held) { held_ = std::move(held); }
  // The call is over and makes room for another. The first time counts.
  void End() {
    if (ended_.exchange(true)) return;
    held_.reset();
    gate_->Release(*this);
  }

 private:
  friend class Gate;
  Pass(std::shared_ptr<Gate> gate, Method method)
      : gate_(std::move(gate)), method_(method) {}

  const std::shared_ptr<Gate> gate_;
  const Method method_;
  api::CallContext context_;
  std::shared_ptr<const void> held_;
  std::atomic<bool> ended_{false};
  // Until it has ended.
  Connection* connection_ = nullptr;
  std::list<Entry>::iterator entry_;
};

// gRPC's "ipv6:%5B::1%5D:9001" as "[::1]:9001".
std::string PeerAddress(const std::string& grpc_peer);

}  // namespace sluice::rpc
