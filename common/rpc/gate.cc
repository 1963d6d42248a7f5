#include "common/rpc/gate.h"

#include <chrono>
#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "common/rpc/client_calls.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

struct Gate::Connection {
  // Read from the first call; they do not change within a connection.
  std::string peer_address;
  std::string client_software;
  int32_t calls = 0;
  int32_t streams = 0;
  bool idle_at_last_sweep = false;
};

struct Gate::Entry {
  std::weak_ptr<Endable> call;
  Method method;
  int64_t deadline_us;
  bool timed;
};

struct Gate::Counters {
  std::atomic<int64_t> calls{0};
  std::atomic<int64_t> refused{0};
  std::atomic<int64_t> under_way{0};
  std::atomic<int64_t> request_bytes{0};
  std::atomic<int64_t> response_bytes{0};
};

namespace {

bool IsStream(Method method) {
  return RowOf(method).kind == CallKind::kStream;
}

std::string MetadataOf(const grpc::CallbackServerContext& context,
                       const char* key, size_t bytes_max) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  return WireText({found->second.data(), found->second.size()}, bytes_max);
}

// INT64_MAX: the client set none.
int64_t RemainingMicros(const grpc::CallbackServerContext& context) {
  using Clock = std::chrono::system_clock;
  const Clock::time_point deadline = context.deadline();
  if (deadline == Clock::time_point::max()) return INT64_MAX;
  return std::chrono::duration_cast<std::chrono::microseconds>(deadline -
                                                               Clock::now())
      .count();
}

}  // namespace

std::string PeerAddress(const std::string& grpc_peer) {
  const size_t colon = grpc_peer.find(':');
  const std::string scheme = grpc_peer.substr(0, colon);
  if (scheme != "ipv4" && scheme != "ipv6") return grpc_peer;
  std::string address;
  for (size_t i = colon + 1; i < grpc_peer.size(); ++i) {
    if (grpc_peer.compare(i, 3, "%5B") == 0) {
      address += '[';
      i += 2;
    } else if (grpc_peer.compare(i, 3, "%5D") == 0) {
      address += ']';
      i += 2;
    } else {
      address += grpc_peer[i];
    }
  }
  return address;
}

Gate::Gate(const Clock* clock, std::string listener, GateLimits limits)
    : clock_(clock), listener_(std::move(listener)), limits_(limits) {
  for (auto& counters : counters_) counters = std::make_unique<Counters>();
}

Gate::~Gate() = default;

std::string Gate::Name(Method method) const {
  return std::string(RowOf(method).path);
}

Gate::Connection& Gate::ConnectionOf(
    const grpc::CallbackServerContext& context) {
  const std::string peer = context.peer();
  const auto [found, is_new] = connections_.try_emplace(peer);
  Connection& connection = found->second;
  if (is_new) {
    connection.peer_address = PeerAddress(peer);
    connection.client_software =
        MetadataOf(context, "user-agent", limits_.client_id_bytes_max);
  }
  connection.idle_at_last_sweep = false;
  return connection;
}

absl::Status Gate::CheckRoom(Method method,
                             const Connection& connection) const {
  if (drained_.has_value()) return *drained_;
  const auto busy = [&](const char* what, int64_t count, int64_t max,
                        const char* next) {
    absl::Status status = MakeError(
        ErrorCode::kBusy, Name(method), ": ", count, " ", what,
        " are under way, the most is ", max, "; ", next);
    SetFact(status, "limit", StrCat(max));
    return status;
  };
  const int64_t all = static_cast<int64_t>(timed_.size() + untimed_.size());
  if (all >= limits_.calls_max) {
    return busy("calls on this listener", all, limits_.calls_max,
                "try again, or ask another broker");
  }
  if (IsStream(method)) {
    if (connection.streams >= limits_.streams_per_connection_max) {
      return busy("streams of this connection", connection.streams,
                  limits_.streams_per_connection_max,
                  "subscribe to more partitions on one stream");
    }
  } else if (connection.calls >= limits_.calls_per_connection_max) {
    return busy("calls of this connection", connection.calls,
                limits_.calls_per_connection_max,
                "wait for answers, or open another connection");
  }
  return absl::OkStatus();
}

absl::Status Gate::AdmitMessage(Method method, int64_t bytes) {
  Counters& counters = *counters_[static_cast<size_t>(method)];
  if (bytes > limits_.request_bytes_max) {
    counters.refused.fetch_add(1, std::memory_order_relaxed);
    absl::Status status = MakeError(
        ErrorCode::kRequestTooLarge, Name(method), ": a message of ", bytes,
        " bytes; the most is ", limits_.request_bytes_max,
        "; send less at once");
    SetFact(status, "bytes", StrCat(bytes));
    SetFact(status, "limit", StrCat(limits_.request_bytes_max));
    return status;
  }
  counters.request_bytes.fetch_add(bytes, std::memory_order_relaxed);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Gate::Pass>> Gate::Admit(
    Method method, const grpc::CallbackServerContext& context,
    int64_t request_bytes, std::weak_ptr<Endable> call) {
  if (absl::Status size = AdmitMessage(method, request_bytes); !size.ok()) {
    return size;
  }
  Counters& counters = *counters_[static_cast<size_t>(method)];
  const int64_t remaining_us = RemainingMicros(context);
  const int64_t now_us = clock_->MonoMicros();
  const bool timed = remaining_us == INT64_MAX && !IsStream(method);
  // A broker hands on calls of many clients by one connection.
  std::string client_id =
      MetadataOf(context, kClientIdKey, limits_.client_id_bytes_max);

  std::lock_guard lock(mutex_);
  Connection& connection = ConnectionOf(context);
  if (absl::Status room = CheckRoom(method, connection); !room.ok()) {
    counters.refused.fetch_add(1, std::memory_order_relaxed);
    return room;
  }
  counters.calls.fetch_add(1, std::memory_order_relaxed);
  counters.under_way.fetch_add(1, std::memory_order_relaxed);
  std::unique_ptr<Pass> pass(new Pass(shared_from_this(), method));
  pass->context_.client_id = std::move(client_id);
  pass->context_.client_software = connection.client_software;
  pass->context_.peer_address = connection.peer_address;
  pass->context_.listener = listener_;
  if (timed) {
    pass->context_.deadline_us = now_us + limits_.deadline_default_us;
  } else if (remaining_us != INT64_MAX) {
    pass->context_.deadline_us = now_us + remaining_us;
  }
  pass->connection_ = &connection;
  ++(IsStream(method) ? connection.streams : connection.calls);
  Entries& entries = timed ? timed_ : untimed_;
  pass->entry_ =
      entries.insert(entries.end(), Entry{std::move(call), method,
                                          pass->context_.deadline_us, timed});
  return pass;
}

void Gate::Release(Pass& pass) {
  counters_[static_cast<size_t>(pass.method_)]->under_way.fetch_sub(
      1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  Connection& connection = *pass.connection_;
  --(IsStream(pass.method_) ? connection.streams : connection.calls);
  (pass.entry_->timed ? timed_ : untimed_).erase(pass.entry_);
  if (timed_.empty() && untimed_.empty()) idle_.notify_all();
}

void Gate::Pass::CountResponse(int64_t bytes) {
  gate_->counters_[static_cast<size_t>(method_)]->response_bytes.fetch_add(
      bytes, std::memory_order_relaxed);
}

void Gate::Sweep() {
  const int64_t now_us = clock_->MonoMicros();
  std::vector<std::pair<std::shared_ptr<Endable>, Method>> late;
  {
    std::lock_guard lock(mutex_);
    // All have the same time to live: the oldest is the first to expire.
    while (!timed_.empty() && timed_.front().deadline_us <= now_us) {
      Entry& entry = timed_.front();
      if (auto call = entry.call.lock()) late.emplace_back(call, entry.method);
      entry.timed = false;
      untimed_.splice(untimed_.end(), timed_, timed_.begin());
    }
    for (auto it = connections_.begin(); it != connections_.end();) {
      Connection& connection = it->second;
      const bool idle = connection.calls == 0 && connection.streams == 0;
      const bool forget =
          idle && std::exchange(connection.idle_at_last_sweep, true);
      it = forget ? connections_.erase(it) : std::next(it);
    }
  }
  for (const auto& [call, method] : late) {
    call->EndCall(MakeError(
        ErrorCode::kRequestTimedOut, Name(method), ": no answer within ",
        limits_.deadline_default_us / 1'000'000,
        " s, the default of a call without a deadline; set one"));
  }
}

void Gate::Drain(const absl::Status& why) {
  std::vector<std::shared_ptr<Endable>> waiting;
  {
    std::lock_guard lock(mutex_);
    drained_ = why;
    for (const Entries* entries : {&timed_, &untimed_}) {
      for (const Entry& entry : *entries) {
        if (RowOf(entry.method).kind == CallKind::kUnary) continue;
        if (auto call = entry.call.lock()) waiting.push_back(std::move(call));
      }
    }
  }
  for (const auto& call : waiting) call->EndCall(why);
}

bool Gate::AwaitIdle(int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [this] {
    return timed_.empty() && untimed_.empty();
  });
}

MethodCounts Gate::CountsOf(Method method) const {
  const Counters& counters = *counters_[static_cast<size_t>(method)];
  return {counters.calls.load(), counters.refused.load(),
          counters.under_way.load(), counters.request_bytes.load(),
          counters.response_bytes.load()};
}

size_t Gate::connections() const {
  std::lock_guard lock(mutex_);
  return connections_.size();
}

}  // namespace sluice::rpc
