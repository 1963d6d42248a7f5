#include "broker/process/operating_system.h"

#include <netdb.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "common/base/error.h"
#include "common/base/invariant.h"

namespace sluice {

absl::StatusOr<std::string> ReadBootId() {
  constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kPath);
  std::string id;
  if (!std::getline(file, id) || id.empty()) {
    return MakeError(ErrorCode::kStorageError, kPath,
                     " cannot be read: without it a crash of this process "
                     "cannot be told from one of the host; mount /proc");
  }
  return id;
}

uint64_t RandomSeed() {
  uint64_t seed = 0;
  INVARIANT(getrandom(&seed, sizeof(seed), 0) == sizeof(seed),
            "getrandom: ", std::strerror(errno));
  return seed;
}

std::string NewSecret() {
  std::string secret(16, '\0');
  INVARIANT(getrandom(secret.data(), secret.size(), 0) ==
                static_cast<ssize_t>(secret.size()),
            "getrandom: ", std::strerror(errno));
  return secret;
}

int64_t RaiseOpenFilesLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -1;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  }
  return static_cast<int64_t>(limit.rlim_cur);
}

absl::Status CheckCanListen(const char* flag, const api::Endpoint& endpoint) {
  const auto refused = [&](const char* reason) {
    return MakeError(ErrorCode::kInvalidConfig, "--", flag, "=",
                     endpoint.ToString(), ": cannot listen there: ", reason,
                     "; stop the process that has the address, or choose "
                     "another");
  };
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  std::string host = endpoint.host;
  if (host.size() > 2 && host.front() == '[') {
    host = host.substr(1, host.size() - 2);
  }
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(
      host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &found);
  if (failed != 0) return refused(gai_strerror(failed));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found,
                                                             freeaddrinfo);
  const int probe = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return refused(std::strerror(errno));
  const int yes = 1;
  setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  const bool bound = bind(probe, found->ai_addr, found->ai_addrlen) == 0 &&
                     listen(probe, 1) == 0;
  const int reason = errno;
  close(probe);
  return bound ? absl::OkStatus() : refused(std::strerror(reason));
}

}  // namespace sluice
