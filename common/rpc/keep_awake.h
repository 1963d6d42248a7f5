// gRPC's callback threads: kept alive, and kept from dozing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace sluice::rpc {

// The callback threads of gRPC 1.51 live as long as a server or a channel that
// has used them. When the last of these dies on a callback thread itself (a
// call's context holds its channel until OnDone), gRPC joins that thread from
// that thread and aborts. After this call they live as long as the process.
// Before the first channel or server of a process; MakeChannel and RpcServer
// do it.
void PinCallbackThreads();

// The callback threads of gRPC 1.51 sleep for 100 ms when no event came for a
// second, and a call that arrives meanwhile waits (48 ms on average instead of
// 0.6, measured). A grpc::Alarm with a callback is no such event: it runs on
// other threads (measured: no effect). A call that fails at once on a channel
// without a transport is one, for about 10 us of CPU.
//
// One such call each period from construction to destruction. Each server and
// each client library has one. `on_tick` runs once a period on a thread of
// gRPC's and must not block; it may be null.
class KeepAwake {
 public:
  static constexpr int64_t kPeriodMs = 400;

  explicit KeepAwake(std::function<void()> on_tick = nullptr);
  // Waits for a tick that runs. Not to be called from on_tick.
  ~KeepAwake();
  KeepAwake(const KeepAwake&) = delete;
  KeepAwake& operator=(const KeepAwake&) = delete;

  // Events that came back so far; for tests.
  int64_t events() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sluice::rpc
