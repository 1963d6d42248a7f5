#include "common/rpc/keep_awake.h"

#include <grpcpp/alarm.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace sluice::rpc {
namespace {

struct NowhereCall {
  grpc::ClientContext context;
  grpc::Slice nothing{"-"};
  grpc::ByteBuffer request{&nothing, 1};
  grpc::ByteBuffer response;
};

// Credentials that do not exist make a channel whose calls fail at once. Never
// destroyed: it is what pins the threads.
grpc::GenericStub& Nowhere() {
  static auto* const stub =
      new grpc::GenericStub(grpc::CreateChannel("nowhere", nullptr));
  return *stub;
}

// One event for a callback thread; `seen` runs on it.
void Nudge(std::function<void()> seen) {
  auto call = std::make_shared<NowhereCall>();
  Nowhere().UnaryCall(
      &call->context, "/sluice/Nowhere", {}, &call->request, &call->response,
      [call, seen = std::move(seen)](const grpc::Status&) { seen(); });
}

}  // namespace

void PinCallbackThreads() {
  static std::once_flag once;
  std::call_once(once, [] { Nudge([] {}); });
}

struct KeepAwake::State : std::enable_shared_from_this<KeepAwake::State> {
  // Two alarms by turns: setting one from inside its own callback would
  // destroy the function that runs. They know the state weakly: an alarm keeps
  // its callback after it fired.
  void Arm() {
    next_alarm = 1 - next_alarm;
    alarms[next_alarm].Set(std::chrono::system_clock::now() +
                               std::chrono::milliseconds(kPeriodMs),
                           [weak = weak_from_this()](bool due) {
                             auto self = weak.lock();
                             if (due && self != nullptr) self->Tick();
                           });
  }

  void Tick() {
    {
      std::lock_guard lock(mutex);
      if (stopping) return;
      ticking = true;
    }
    if (on_tick) on_tick();
    Nudge([self = shared_from_this()] {
      self->events.fetch_add(1, std::memory_order_relaxed);
    });
    std::lock_guard lock(mutex);
    ticking = false;
    idle.notify_all();
    if (!stopping) Arm();
  }

  std::function<void()> on_tick;
  std::atomic<int64_t> events{0};

  std::mutex mutex;
  std::condition_variable idle;
  // Guarded by mutex.
  bool ticking = false;
  bool stopping = false;
  int next_alarm = 0;
  grpc::Alarm alarms[2];
};

KeepAwake::KeepAwake(std::function<void()> on_tick)
    : state_(std::make_shared<State>()) {
  PinCallbackThreads();
  state_->on_tick = std::move(on_tick);
  std::lock_guard lock(state_->mutex);
  state_->Arm();
}

KeepAwake::~KeepAwake() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->idle.wait(lock, [this] { return !state_->ticking; });
}

int64_t KeepAwake::events() const {
  return state_->events.load(std::memory_order_relaxed);
}

}  // namespace sluice::rpc
