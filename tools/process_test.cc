#include "tools/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>

namespace sluice::cli {
namespace {

constexpr int64_t kLongUs = 60'000'000;

std::string StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("State:", 0) == 0) return line;
  }
  return "";
}

// What kill -9 leaves for a moment: /proc says zombie, the ports are taken.
TEST(ProcessTest, AZombieWithThreadsIsAlive) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::thread other([] {
      for (;;) pause();
    });
    syscall(SYS_exit, 0);  // of this thread alone
  }
  while (StateOf(child).find('Z') == std::string::npos) usleep(1000);

  EXPECT_TRUE(IsAlive(child));

  kill(child, SIGKILL);
  EXPECT_TRUE(WaitGone(child, kLongUs));
  EXPECT_FALSE(IsAlive(child));
}

TEST(ProcessTest, AZombieWithoutThreadsIsGone) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(0);
  while (StateOf(child).find('Z') == std::string::npos) usleep(1000);

  EXPECT_FALSE(IsAlive(child));

  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(ProcessTest, APortThatNobodyAnswersOnAnswersNoHttp) {
  EXPECT_FALSE(AnswersHttp(1));
}

}  // namespace
}  // namespace sluice::cli
