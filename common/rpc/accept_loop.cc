#include "common/rpc/accept_loop.h"

#include <glog/logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice::rpc {
namespace {

constexpr int kBacklog = SOMAXCONN;
// Before an accept that found no descriptor is tried again.
constexpr int kStarvedWaitMs = 100;
// Between two looks at whether the loop is to stop.
constexpr int kAcceptsInARowMax = 64;
constexpr int64_t kTellEveryUs = 10'000'000;

int64_t MonoMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

int64_t DescriptorsMax() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
      limit.rlim_cur > std::numeric_limits<int32_t>::max()) {
    return std::numeric_limits<int32_t>::max();
  }
  return static_cast<int64_t>(limit.rlim_cur);
}

void SetPort(sockaddr* address, int port) {
  const auto number = htons(static_cast<uint16_t>(port));
  if (address->sa_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = number;
  } else if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = number;
  }
}

int PortOf(int listener) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) !=
      0) {
    return 0;
  }
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// A descriptor that listens, or -1 with errno.
int ListenAt(const addrinfo& at) {
  const int listener =
      socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return -1;
  const int yes = 1;
  const int no = 0;
  // Not SO_REUSEPORT, by which two processes would share the clients.
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (at.ai_family == AF_INET6) {
    // "[::]" is for both families.
    setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  }
  if (bind(listener, at.ai_addr, at.ai_addrlen) == 0 &&
      listen(listener, kBacklog) == 0) {
    return listener;
  }
  const int error = errno;
  close(listener);
  errno = error;
  return -1;
}

}  // namespace

AcceptLoop::AcceptLoop(Options options) : options_(std::move(options)) {}

absl::StatusOr<std::unique_ptr<AcceptLoop>> AcceptLoop::Listen(
    Options options) {
  std::unique_ptr<AcceptLoop> loop(new AcceptLoop(std::move(options)));
  RETURN_IF_ERROR(loop->Bind());
  return loop;
}

AcceptLoop::~AcceptLoop() {
  Stop();
  if (stop_event_ >= 0) close(stop_event_);
}

absl::Status AcceptLoop::Bind() {
  const api::Endpoint& where = options_.bind;
  const auto refused = [&](const char* why) {
    return MakeError(ErrorCode::kInvalidConfig, "listener ", options_.name,
                     ": cannot listen on ", where.ToString(), ": ", why,
                     "; choose another address or end the process that has "
                     "it");
  };
  std::string host = where.host;
  if (host.size() > 2 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), StrCat(where.port).c_str(),
                                 &hints, &found);
  if (failed != 0) return refused(gai_strerror(failed));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found,
                                                             freeaddrinfo);
  port_ = where.port;
  int error = EADDRNOTAVAIL;
  std::set<std::string> seen;
  // A name may have several addresses, and a host without IPv6 not have all.
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    // /etc/hosts may name one twice.
    if (!seen.emplace(reinterpret_cast<const char*>(at->ai_addr),
                      at->ai_addrlen)
             .second) {
      continue;
    }
    SetPort(at->ai_addr, port_);
    const int listener = ListenAt(*at);
    if (listener < 0) {
      error = errno;
      if (error == EADDRINUSE || error == EACCES) {
        return refused(std::strerror(error));
      }
      continue;
    }
    listeners_.push_back(listener);
    if (port_ == 0) port_ = PortOf(listener);
  }
  if (listeners_.empty()) return refused(std::strerror(error));
  stop_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_event_ < 0) return refused(std::strerror(errno));
  return absl::OkStatus();
}

void AcceptLoop::Start(Take take) {
  take_ = std::move(take);
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(),
                     StrCat("accept-", options_.name).substr(0, 15).c_str());
}

void AcceptLoop::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    // It cannot fail: nothing else is ever added to the event.
    (void)!write(stop_event_, &one, sizeof one);
    thread_.join();
  }
  for (const int listener : std::exchange(listeners_, {})) close(listener);
}

bool AcceptLoop::WaitForStop(int timeout_ms) const {
  pollfd stop{stop_event_, POLLIN, 0};
  return poll(&stop, 1, timeout_ms) > 0;
}

void AcceptLoop::Run() {
  std::vector<pollfd> waited;
  for (const int listener : listeners_) {
    waited.push_back({listener, POLLIN, 0});
  }
  waited.push_back({stop_event_, POLLIN, 0});
  for (;;) {
    if (poll(waited.data(), waited.size(), /*timeout=*/-1) < 0) {
      if (errno == EINTR || !WaitForStop(kStarvedWaitMs)) continue;
      return;
    }
    if (waited.back().revents != 0) return;
    for (size_t i = 0; i + 1 < waited.size(); ++i) {
      if (waited[i].revents != 0) AcceptFrom(waited[i].fd);
    }
  }
}

void AcceptLoop::AcceptFrom(int listener) {
  for (int i = 0; i < kAcceptsInARowMax; ++i) {
    const int connection =
        accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      Serve(listener, connection);
      continue;
    }
    switch (errno) {
      case EAGAIN:
        return;
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
        continue;  // of that one connection; the next may be well
      default:  // EMFILE, ENFILE, ENOBUFS, ENOMEM: it passes
        LOG_IF(ERROR, starved_.fetch_add(1) == 0)
            << "listener " << options_.name << " cannot accept: "
            << std::strerror(errno) << " (limit " << DescriptorsMax()
            << "); connections wait, and are tried again every "
            << kStarvedWaitMs << " ms";
        // The caller looks at the event, too.
        WaitForStop(kStarvedWaitMs);
        return;
    }
  }
}

void AcceptLoop::Serve(int listener, int connection) {
  const int64_t limit = DescriptorsMax();
  if (connection >= limit - limit / options_.kept_back_part) {
    close(connection);
    return NoteRefused(limit);
  }
  const int yes = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  take_(listener, connection);
}

void AcceptLoop::NoteRefused(int64_t limit) {
  const int64_t now_us = MonoMicros();
  const int64_t refused = refused_.fetch_add(1) + 1;
  if (told_us_ != 0 && now_us - told_us_ < kTellEveryUs) return;
  LOG(WARNING) << "listener " << options_.name << " has closed "
               << refused - refused_told_ << " new connection(s) at once: "
               << limit - limit / options_.kept_back_part << " of " << limit
               << " descriptors are taken, the rest is for files; find who "
                  "connects so often, or raise ulimit -n";
  refused_told_ = refused;
  told_us_ = now_us;
}

}  // namespace sluice::rpc
