#include "common/rpc/accept_loop.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include "common/base/error.h"

namespace sluice::rpc {
namespace {

// While it lives this process can open nothing more.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const int lowest_free = open("/dev/null", O_RDONLY);
    EXPECT_GE(lowest_free, 0);
    close(lowest_free);
    rlimit none = before_;
    none.rlim_cur = static_cast<rlim_t>(lowest_free);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptorsLeft() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

class AcceptLoopTest : public ::testing::Test {
 protected:
  ~AcceptLoopTest() override {
    if (loop_ != nullptr) loop_->Stop();
    for (const int connection : taken_) close(connection);
    for (const int client : clients_) close(client);
  }

  void Start(int kept_back_part) {
    auto loop = AcceptLoop::Listen(
        {"TEST", api::Endpoint{"127.0.0.1", 0}, kept_back_part});
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    loop_->Start([this](int, int connection) {
      const std::lock_guard lock(mutex_);
      taken_.push_back(connection);
      changed_.notify_all();
    });
  }
  int NewSocket() {
    clients_.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_GE(clients_.back(), 0);
    return clients_.back();
  }
  void Connect(int client) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(loop_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address),
                      sizeof address),
              0);
  }
  void AwaitTaken(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taken_.size() >= count; });
  }

  std::unique_ptr<AcceptLoop> loop_;
  std::vector<int> clients_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> taken_;
};

TEST_F(AcceptLoopTest, ConnectionsAreTakenWithoutWaitingForReads) {
  Start(8);
  Connect(NewSocket());
  Connect(NewSocket());
  AwaitTaken(2);
  EXPECT_NE(fcntl(taken_[0], F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(loop_->refused(), 0);
}

// gRPC's own loop never accepted again.
TEST_F(AcceptLoopTest, WhatFoundNoDescriptorIsTakenWhenThereIsOneAgain) {
  Start(1 << 20);
  const int client = NewSocket();
  {
    const NoDescriptorsLeft none;
    Connect(client);
    while (loop_->starved() == 0) usleep(1000);
    EXPECT_TRUE(taken_.empty());
  }
  AwaitTaken(1);
}

TEST_F(AcceptLoopTest, WhatIsKeptBackIsNotForConnections) {
  Start(/*kept_back_part=*/1);  // all of it
  const int client = NewSocket();
  Connect(client);
  char byte;
  EXPECT_LE(recv(client, &byte, 1, 0), 0);  // closed by the other side
  EXPECT_EQ(loop_->refused(), 1);
  EXPECT_TRUE(taken_.empty());
}

TEST_F(AcceptLoopTest, AfterAStopNobodyListens) {
  Start(8);
  const api::Endpoint address{"127.0.0.1", loop_->port()};
  loop_->Stop();
  loop_->Stop();
  EXPECT_TRUE(AcceptLoop::Listen({"NEXT", address}).ok());
}

TEST_F(AcceptLoopTest, AnAddressThatIsTakenIsNamedWithTheReason) {
  Start(8);
  const auto second =
      AcceptLoop::Listen({"SECOND", {"127.0.0.1", loop_->port()}});
  EXPECT_EQ(CodeOf(second.status()), ErrorCode::kInvalidConfig);
  EXPECT_NE(std::string(second.status().message())
                .find("listener SECOND: cannot listen on 127.0.0.1:" +
                      std::to_string(loop_->port()) +
                      ": Address already in use"),
            std::string::npos)
      << second.status();
}

}  // namespace
}  // namespace sluice::rpc
