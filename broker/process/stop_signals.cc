#include "broker/process/stop_signals.h"

#include <glog/logging.h>
#include <pthread.h>
#include <unistd.h>

#include <thread>

namespace sluice {

StopSignals::StopSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int StopSignals::Wait() const {
  int signal = 0;
  while (sigwait(&signals_, &signal) != 0) {
  }
  return signal;
}

void StopSignals::EndAtTheNext() const {
  // Detached: it ends with the process.
  std::thread([signals = signals_] {
    int signal = 0;
    while (sigwait(&signals, &signal) != 0) {
    }
    LOG(WARNING) << "told again to stop (signal " << signal
                 << "): ending at once, without a clean marker";
    google::FlushLogFiles(google::INFO);
    _exit(128 + signal);
  }).detach();
}

}  // namespace sluice
