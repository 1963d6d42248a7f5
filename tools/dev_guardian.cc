#include "tools/dev_guardian.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

[[noreturn]] void Guard(const DevCluster& cluster, pid_t parent, int pipe) {
  setsid();  // the terminal's Ctrl-C is the parent's
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere >= 0) {
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);  // who reads the parent's sees it end
  }
  char dismissed = 0;
  ssize_t got = 0;
  do {
    got = read(pipe, &dismissed, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 0) {
    std::fprintf(stderr, "sluice dev (pid %d) is gone; stopping its nodes\n",
                 parent);
    cluster.StopAll();
  }
  _exit(0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<DevGuardian>> DevGuardian::Start(
    const DevCluster& cluster) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return MakeError(ErrorCode::kUnknownServerError,
                     "no pipe: ", std::string(std::strerror(errno)));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    close(ends[0]);
    close(ends[1]);
    return MakeError(ErrorCode::kUnknownServerError,
                     "cannot fork: ", std::string(std::strerror(errno)));
  }
  if (pid == 0) {
    close(ends[1]);
    Guard(cluster, parent, ends[0]);
  }
  close(ends[0]);
  return std::unique_ptr<DevGuardian>(new DevGuardian(pid, ends[1]));
}

DevGuardian::~DevGuardian() {
  const char dismissed = 1;
  // If it is gone already there is nobody to tell.
  if (write(pipe_, &dismissed, 1) == 1) waitpid(pid_, nullptr, 0);
  close(pipe_);
}

}  // namespace sluice::cli
