// SIGTERM and SIGINT as something a main can wait for.
#pragma once

#include <atomic>
#include <memory>

namespace sluice {

// Made before any other thread, so that all of them leave these signals to
// Wait(). A write to a closed socket is an error, not a signal, from here on.
// They are read, never let through: no thread may ever take their default
// action, which would make a clean stop look like a kill.
class StopSignals {
 public:
  StopSignals();

  // Blocks until one arrives, and tells which.
  int Wait() const;
  // From here on the next one ends the process at once, like a kill would,
  // with 128 + its number as the exit code.
  void EndAtTheNext() const;
  // All is closed: there is nothing left that the next one could cut short,
  // so it ends the process at once as a clean stop.
  void ClosedCleanly() const;

 private:
  int fd_;
  // Of the thread that waits for the next one, too.
  std::shared_ptr<std::atomic<bool>> closed_cleanly_;
};

}  // namespace sluice
