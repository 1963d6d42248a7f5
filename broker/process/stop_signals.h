// SIGTERM and SIGINT as something a main can wait for.
#pragma once

#include <csignal>

namespace sluice {

// Made before any other thread, so that all of them leave these signals to
// Wait(). A write to a closed socket is an error, not a signal, from here on.
class StopSignals {
 public:
  StopSignals();

  // Blocks until one arrives, and tells which.
  int Wait() const;
  // From here on the next one ends the process at once, like a kill would,
  // with 128 + its number as the exit code.
  void EndAtTheNext() const;

 private:
  sigset_t signals_;
};

}  // namespace sluice
