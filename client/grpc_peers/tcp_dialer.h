// The active controller's probe of a broker: a bare TCP connect.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/peers/controller_peer.h"

namespace sluice {

// Two threads: one waits for sockets, one for the resolver, whose answer may
// take longer than any dial: such a dial ends by its timeout, and numeric
// addresses never queue behind names.
//
// kConnected: somebody accepted; the connection is closed again at once.
// kRefused: every address of the host refused. kNoAnswer: all else - silence,
// an unreachable network, a name that does not resolve, no descriptor left,
// kDialsMax dials under way: nothing that proves the process dead.
//
// Dial may be called from any thread. Destroyed before the executors it was
// given; what is under way then is answered kNoAnswer.
class TcpDialer final : public BrokerDialer {
 public:
  static constexpr size_t kDialsMax = 1024;

  TcpDialer();
  ~TcpDialer() override;
  TcpDialer(const TcpDialer&) = delete;
  TcpDialer& operator=(const TcpDialer&) = delete;

  void Dial(const api::Endpoint& endpoint, int64_t timeout_us,
            Executor* executor,
            absl::AnyInvocable<void(DialResult)> reply) override;

 private:
  struct Address;  // a sockaddr of any family
  struct Attempt {
    api::Endpoint endpoint;
    int64_t deadline_us = 0;
    Executor* executor = nullptr;
    absl::AnyInvocable<void(DialResult)> reply;
    // What is left to try, and whether all that was tried refused.
    std::deque<Address> addresses;
    bool all_refused = true;
    bool resolving = false;
    bool resolved = false;
    int fd = -1;
  };
  using Attempts = std::list<std::shared_ptr<Attempt>>;

  static std::deque<Address> Resolve(const api::Endpoint& endpoint,
                                     bool numeric_only);
  static void Answer(Attempt& attempt, DialResult result);
  // Goes on to the next address; true when the attempt has been answered.
  static bool ConnectNext(Attempt& attempt);
  static bool OnWritable(Attempt& attempt);

  void Wake();
  void RunSockets();
  void RunResolver();
  // One round over all attempts: new ones, writable ones, late ones.
  void Step(Attempts& attempts);
  void WaitForSockets(const Attempts& attempts) const;

  int wake_fd_;
  std::mutex mutex_;
  std::condition_variable to_resolve_wake_;
  // Guarded by mutex_.
  Attempts arrived_;
  std::deque<std::shared_ptr<Attempt>> to_resolve_;
  size_t under_way_ = 0;
  bool stopping_ = false;

  std::thread sockets_;
  std::thread resolver_;
};

}  // namespace sluice
