#include "broker/process/stop_signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "broker/process/end_process.h"

namespace sluice {
namespace {

// Each body is a process of its own, started anew: it has no thread yet.
class StopSignalsDeathTest : public ::testing::Test {
 protected:
  StopSignalsDeathTest() {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  }
};

void Tell(int signal) { kill(getpid(), signal); }

[[noreturn]] void WaitForTheEnd() {
  for (;;) pause();
}

TEST_F(StopSignalsDeathTest, TheFirstOneIsTold) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        Tell(SIGTERM);
        const bool terminated = signals.Wait() == SIGTERM;
        Tell(SIGINT);
        std::_Exit(terminated && signals.Wait() == SIGINT ? 42 : 1);
      },
      ::testing::ExitedWithCode(42), "");
}

TEST_F(StopSignalsDeathTest, TheNextOneEndsItAsAKillWould) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        Tell(SIGTERM);
        signals.Wait();
        signals.EndAtTheNext();
        Tell(SIGTERM);
        WaitForTheEnd();
      },
      ::testing::ExitedWithCode(128 + SIGTERM), "without a clean marker");
}

TEST_F(StopSignalsDeathTest, AfterAllIsClosedTheNextOneEndsACleanStop) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        Tell(SIGTERM);
        signals.Wait();
        signals.EndAtTheNext();
        signals.ClosedCleanly();
        Tell(SIGINT);
        WaitForTheEnd();
      },
      ::testing::ExitedWithCode(kExitClean), "after all was closed");
}

TEST_F(StopSignalsDeathTest, AClosedSocketIsNoSignal) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        int ends[2];
        if (pipe(ends) != 0) std::_Exit(1);
        close(ends[0]);
        std::_Exit(write(ends[1], "x", 1) == -1 ? 42 : 1);
      },
      ::testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace sluice
