#include "broker/process/stop_signals.h"

#include <glog/logging.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "broker/process/end_process.h"
#include "common/base/invariant.h"

namespace sluice {
namespace {

int NextSignal(int fd) {
  signalfd_siginfo info{};
  ssize_t got = 0;
  do {
    got = read(fd, &info, sizeof(info));
  } while (got < 0 && errno == EINTR);
  INVARIANT(got == sizeof(info), "signalfd: ", std::strerror(errno));
  return static_cast<int>(info.ssi_signo);
}

[[noreturn]] void EndNow(int signal, bool clean) {
  if (clean) {
    LOG(INFO) << "told again to stop (signal " << signal
              << ") after all was closed: ending at once";
  } else {
    LOG(WARNING) << "told again to stop (signal " << signal
                 << "): ending at once, without a clean marker";
  }
  google::FlushLogFiles(google::INFO);
  _exit(clean ? kExitClean : 128 + signal);
}

}  // namespace

StopSignals::StopSignals()
    : closed_cleanly_(std::make_shared<std::atomic<bool>>(false)) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // Open as long as the process lives: so does whoever reads it.
  fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  INVARIANT(fd_ >= 0, "signalfd: ", std::strerror(errno));
  std::signal(SIGPIPE, SIG_IGN);
}

int StopSignals::Wait() const { return NextSignal(fd_); }

void StopSignals::EndAtTheNext() const {
  // Detached: it ends with the process.
  std::thread([fd = fd_, clean = closed_cleanly_] {
    const int signal = NextSignal(fd);
    EndNow(signal, clean->load());
  }).detach();
}

void StopSignals::ClosedCleanly() const { closed_cleanly_->store(true); }

}  // namespace sluice
