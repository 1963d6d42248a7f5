#include "client/grpc_peers/tcp_dialer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <vector>

#include "common/env/thread_executor.h"

namespace sluice {
namespace {

constexpr int64_t kLongUs = 20000000;

// A socket on a port of the kernel's choice; refuses until it listens.
class LoopbackSocket {
 public:
  explicit LoopbackSocket(bool listens, int backlog = 16)
      : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address),
              0);
    socklen_t length = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length);
    port_ = ntohs(address.sin_port);
    if (listens) {
      EXPECT_EQ(listen(fd_, backlog), 0);
    }
  }
  ~LoopbackSocket() { close(fd_); }
  int port() const { return port_; }

 private:
  int fd_;
  int port_ = 0;
};

class TcpDialerTest : public testing::Test {
 protected:
  std::future<DialResult> Start(const std::string& host, int port,
                                int64_t timeout_us = kLongUs) {
    auto promise = std::make_shared<std::promise<DialResult>>();
    dialer_->Dial({host, port}, timeout_us, &executor_,
                  [this, promise](DialResult result) {
                    EXPECT_TRUE(executor_.IsCurrent());
                    promise->set_value(result);
                  });
    return promise->get_future();
  }
  DialResult Dial(const std::string& host, int port,
                  int64_t timeout_us = kLongUs) {
    return Start(host, port, timeout_us).get();
  }

  ThreadExecutor executor_{"dial-test"};
  std::unique_ptr<TcpDialer> dialer_ = std::make_unique<TcpDialer>();
};

TEST_F(TcpDialerTest, AListenerConnects) {
  LoopbackSocket listener(/*listens=*/true);
  EXPECT_EQ(Dial("127.0.0.1", listener.port()), DialResult::kConnected);
}

TEST_F(TcpDialerTest, NobodyListeningIsRefused) {
  LoopbackSocket deaf(/*listens=*/false);
  EXPECT_EQ(Dial("127.0.0.1", deaf.port()), DialResult::kRefused);
}

TEST_F(TcpDialerTest, ANameConnectsByAnyOfItsAddresses) {
  // localhost may be ::1 first, where nobody listens.
  LoopbackSocket listener(/*listens=*/true);
  EXPECT_EQ(Dial("localhost", listener.port()), DialResult::kConnected);
}

TEST_F(TcpDialerTest, ANameIsRefusedByAllOfItsAddresses) {
  LoopbackSocket deaf(/*listens=*/false);
  EXPECT_EQ(Dial("localhost", deaf.port()), DialResult::kRefused);
}

TEST_F(TcpDialerTest, ANameThatDoesNotResolveProvesNothing) {
  EXPECT_EQ(Dial("nowhere.invalid", 9, 5000000), DialResult::kNoAnswer);
  EXPECT_EQ(Dial("", 0, 100000), DialResult::kNoAnswer);
  EXPECT_EQ(Dial("127.0.0.1", -7, 100000), DialResult::kNoAnswer);
  EXPECT_EQ(Dial("127.0.0.1", 70000, 100000), DialResult::kNoAnswer);
}

TEST_F(TcpDialerTest, SilenceEndsAtTheTimeout) {
  // A full backlog drops further SYNs: a host that hangs.
  LoopbackSocket full(/*listens=*/true, /*backlog=*/0);
  std::vector<int> fds;
  for (int i = 0; i < 4; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(full.port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    fds.push_back(fd);
  }
  EXPECT_EQ(Dial("127.0.0.1", full.port(), 50000), DialResult::kNoAnswer);
  // A slow dial holds nobody up.
  auto slow = Start("127.0.0.1", full.port(), 100000);
  LoopbackSocket deaf(/*listens=*/false);
  EXPECT_EQ(Dial("127.0.0.1", deaf.port()), DialResult::kRefused);
  EXPECT_EQ(slow.get(), DialResult::kNoAnswer);
  for (const int fd : fds) close(fd);
}

TEST_F(TcpDialerTest, EveryDialIsAnsweredOnceAlsoPastTheLimitAndAtTheEnd) {
  LoopbackSocket full(/*listens=*/true, /*backlog=*/0);
  const int dials = static_cast<int>(TcpDialer::kDialsMax) + 50;
  std::atomic<int> answers = 0;
  for (int i = 0; i < dials; ++i) {
    dialer_->Dial({"127.0.0.1", full.port()}, kLongUs, &executor_,
                  [&](DialResult) { ++answers; });
  }
  dialer_.reset();
  std::promise<void> drained;
  executor_.Post([&] { drained.set_value(); });
  drained.get_future().get();
  EXPECT_EQ(answers, dials);
}

}  // namespace
}  // namespace sluice
