#include "client/grpc_peers/tcp_dialer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "common/base/invariant.h"

namespace sluice {
namespace {

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

struct TcpDialer::Address {
  sockaddr_storage storage;
  socklen_t length;
};

TcpDialer::TcpDialer() : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  INVARIANT(wake_fd_ >= 0, "eventfd: ", std::strerror(errno));
  sockets_ = std::thread([this] { RunSockets(); });
  resolver_ = std::thread([this] { RunResolver(); });
}

TcpDialer::~TcpDialer() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Wake();
  to_resolve_wake_.notify_all();
  sockets_.join();
  resolver_.join();
  close(wake_fd_);
}

void TcpDialer::Dial(const api::Endpoint& endpoint, int64_t timeout_us,
                     Executor* executor,
                     absl::AnyInvocable<void(DialResult)> reply) {
  auto attempt = std::make_shared<Attempt>();
  attempt->endpoint = endpoint;
  attempt->deadline_us = NowMicros() + timeout_us;
  attempt->executor = executor;
  attempt->reply = std::move(reply);
  attempt->addresses = Resolve(endpoint, /*numeric_only=*/true);
  attempt->resolved = !attempt->addresses.empty();
  attempt->resolving = !attempt->resolved;
  {
    std::lock_guard lock(mutex_);
    if (under_way_ < kDialsMax && !stopping_) {
      ++under_way_;
      if (attempt->resolving) to_resolve_.push_back(attempt);
      arrived_.push_back(std::move(attempt));
    }
  }
  if (attempt != nullptr) return Answer(*attempt, DialResult::kNoAnswer);
  to_resolve_wake_.notify_one();
  Wake();
}

void TcpDialer::Answer(Attempt& attempt, DialResult result) {
  if (attempt.fd >= 0) close(attempt.fd);
  attempt.fd = -1;
  attempt.executor->Post(
      [reply = std::move(attempt.reply), result]() mutable { reply(result); });
}

void TcpDialer::Wake() {
  const uint64_t one = 1;
  // Full means that the thread is being woken already.
  const ssize_t written = write(wake_fd_, &one, sizeof one);
  INVARIANT(written == sizeof one || errno == EAGAIN, std::strerror(errno));
}

std::deque<TcpDialer::Address> TcpDialer::Resolve(
    const api::Endpoint& endpoint, bool numeric_only) {
  // getaddrinfo would dial the port's lower 16 bits, and a refusal there kills.
  if (endpoint.port < 1 || endpoint.port > 65535) return {};
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  std::deque<Address> addresses;
  if (getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(),
                  &hints, &found) != 0) {
    return addresses;
  }
  for (const addrinfo* info = found; info != nullptr; info = info->ai_next) {
    Address& address = addresses.emplace_back();
    std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    address.length = info->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

void TcpDialer::RunResolver() {
  pthread_setname_np(pthread_self(), "dial-resolver");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (to_resolve_.empty()) {
      to_resolve_wake_.wait(lock);
      continue;
    }
    const auto attempt = std::move(to_resolve_.front());
    to_resolve_.pop_front();
    const api::Endpoint endpoint = attempt->endpoint;
    if (attempt->deadline_us <= NowMicros()) continue;  // answered by now
    lock.unlock();
    std::deque<Address> addresses = Resolve(endpoint, /*numeric_only=*/false);
    lock.lock();
    attempt->addresses = std::move(addresses);
    attempt->resolved = true;
    Wake();
  }
}

bool TcpDialer::ConnectNext(Attempt& attempt) {
  if (attempt.fd >= 0) close(attempt.fd);
  attempt.fd = -1;
  while (!attempt.addresses.empty()) {
    const Address address = attempt.addresses.front();
    attempt.addresses.pop_front();
    const int fd = socket(address.storage.ss_family,
                          SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      attempt.all_refused = false;
      continue;
    }
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address.storage),
                address.length) == 0) {
      attempt.fd = fd;
      Answer(attempt, DialResult::kConnected);
      return true;
    }
    const int error = errno;
    if (error == EINPROGRESS) {
      attempt.fd = fd;
      return false;
    }
    if (error != ECONNREFUSED) attempt.all_refused = false;
    close(fd);
  }
  Answer(attempt, attempt.all_refused ? DialResult::kRefused
                                      : DialResult::kNoAnswer);
  return true;
}

bool TcpDialer::OnWritable(Attempt& attempt) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(attempt.fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
    error = errno;
  }
  if (error == 0) {
    Answer(attempt, DialResult::kConnected);
    return true;
  }
  if (error != ECONNREFUSED) attempt.all_refused = false;
  return ConnectNext(attempt);
}

void TcpDialer::RunSockets() {
  pthread_setname_np(pthread_self(), "dialer");
  Attempts attempts;
  while (true) {
    bool stopping;
    {
      std::lock_guard lock(mutex_);
      stopping = stopping_;
      attempts.splice(attempts.end(), arrived_);
      for (const auto& attempt : attempts) {
        if (!attempt->resolving || !attempt->resolved) continue;
        attempt->resolving = false;
        attempt->all_refused = !attempt->addresses.empty();
      }
    }
    if (stopping) break;
    const size_t before = attempts.size();
    Step(attempts);
    {
      std::lock_guard lock(mutex_);
      under_way_ -= before - attempts.size();
    }
    WaitForSockets(attempts);
  }
  for (const auto& attempt : attempts) {
    Answer(*attempt, DialResult::kNoAnswer);
  }
}

void TcpDialer::Step(Attempts& attempts) {
  const int64_t now_us = NowMicros();
  for (auto it = attempts.begin(); it != attempts.end();) {
    Attempt& attempt = **it;
    bool answered = false;
    if (!attempt.resolving) {
      if (attempt.fd < 0) {
        answered = ConnectNext(attempt);
      } else {
        pollfd ready = {attempt.fd, POLLOUT, 0};
        if (poll(&ready, 1, 0) > 0) answered = OnWritable(attempt);
      }
    }
    if (!answered && attempt.deadline_us <= now_us) {
      Answer(attempt, DialResult::kNoAnswer);
      answered = true;
    }
    it = answered ? attempts.erase(it) : std::next(it);
  }
}

void TcpDialer::WaitForSockets(const Attempts& attempts) const {
  std::vector<pollfd> fds = {{wake_fd_, POLLIN, 0}};
  int64_t deadline_us = INT64_MAX;
  for (const auto& attempt : attempts) {
    deadline_us = std::min(deadline_us, attempt->deadline_us);
    if (attempt->fd >= 0) fds.push_back({attempt->fd, POLLOUT, 0});
  }
  int timeout_ms = -1;
  if (deadline_us != INT64_MAX) {
    const int64_t left_us = std::max<int64_t>(deadline_us - NowMicros(), 0);
    timeout_ms =
        static_cast<int>(std::min<int64_t>((left_us + 999) / 1000, 60000));
  }
  const int ready = poll(fds.data(), fds.size(), timeout_ms);
  INVARIANT(ready >= 0 || errno == EINTR, "poll: ", std::strerror(errno));
  uint64_t count;
  // Nothing to read is as good as read.
  (void)!read(wake_fd_, &count, sizeof count);
}

}  // namespace sluice
