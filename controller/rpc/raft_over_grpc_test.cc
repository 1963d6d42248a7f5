// Three Raft nodes as sluiced puts them together: threads, RocksDB, sockets.
// What Raft promises is tested in virtual time; here, that it keeps going over
// the real transport when processes come and go.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"
#include "common/rpc/server.h"
#include "controller/raft_driver/raft_node.h"
#include "controller/rpc/grpc_raft_transport.h"
#include "storage/rocks_kv_store.h"

namespace sluice {
namespace {

constexpr auto kLong = std::chrono::seconds(60);

// An endpoint of this test process alone: an address made of its pid, so that
// nobody takes the port between its choice and its use.
api::Endpoint ChooseEndpoint(int n) {
  const int pid = getpid();
  const std::string host = StrCat("127.", 1 + (pid >> 16) % 250, ".",
                                  (pid >> 8) % 256, ".", pid % 256);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  socklen_t length = sizeof address;
  INVARIANT(bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                getsockname(fd, reinterpret_cast<sockaddr*>(&address),
                            &length) == 0,
            "no port for node ", n);
  close(fd);
  return {host, ntohs(address.sin_port)};
}

// What the nodes saw, to be waited for.
class Board {
 public:
  void Applied(int n, std::string payload) {
    Note([&] { applied_[n].push_back(std::move(payload)); });
  }
  void Role(int n, bool leads) {
    Note([&] {
      if (leads) {
        leaders_.insert(n);
      } else {
        leaders_.erase(n);
      }
    });
  }
  void Ended(int n) {
    Note([&] {
      leaders_.erase(n);
      applied_[n].clear();
    });
  }
  int WaitLeader() {
    int leader = 0;
    Wait([&] {
      if (!leaders_.empty()) leader = *leaders_.begin();
      return leader != 0;
    });
    return leader;
  }
  // Until node n has applied all of them.
  void WaitApplied(int n, const std::vector<std::string>& payloads) {
    Wait([&] {
      const std::set<std::string> have(applied_[n].begin(), applied_[n].end());
      for (const std::string& payload : payloads) {
        if (have.count(payload) == 0) return false;
      }
      return true;
    });
  }
  std::vector<std::string> applied(int n) {
    std::lock_guard lock(mutex_);
    return applied_[n];
  }

 private:
  void Note(const std::function<void()>& change) {
    std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  void Wait(const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, kLong, done)) << "waited in vain";
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, std::vector<std::string>> applied_;
  std::set<int> leaders_;
};

// One controller process as far as Raft goes; its end is a kill.
class Node {
 public:
  Node(int n, const std::map<int, api::Endpoint>& endpoints,
       DirectoryId directory, const std::string& path, Board* board)
      : n_(n), board_(board) {
    kv_ = *RocksKvStore::Open(path);
    store_ = *RaftLogStore::Open(kv_.get(), directory);
    GrpcRaftTransport::Deps deps{&executor_, &client_loop_, {},
                                 static_cast<uint64_t>(n)};
    RaftNodeOptions options{NodeId(n), directory, {}, {}};
    for (const auto& [id, endpoint] : endpoints) {
      options.initial_controllers.push_back(
          {NodeId(id), DirectoryId(), endpoint.ToString()});
      if (id != n) deps.peers.push_back({NodeId(id), endpoint});
    }
    transport_ = std::make_unique<GrpcRaftTransport>(std::move(deps));
    Listen(endpoints.at(n));
    OnExecutor([&] { StartRaft(options); });
  }
  ~Node() {
    OnExecutor([this] { raft_.reset(); });
    server_->Shutdown(0);
    server_loop_->Stop();
    client_loop_.Stop();
    server_.reset();
    writer_.Stop();
    executor_.Stop();
    board_->Ended(n_);
  }

  absl::Status Propose(const std::string& payload) {
    auto done = std::make_shared<std::promise<absl::Status>>();
    executor_.Post([this, payload, done] {
      auto where = raft_->Propose(
          Buffer::CopyOf(payload),
          [done](absl::Status status) { done->set_value(status); });
      if (!where.ok()) done->set_value(where.status());
    });
    return done->get_future().get();
  }

 private:
  void Listen(const api::Endpoint& endpoint) {
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = endpoint;
    options.completion_queues = 1;
    auto server = rpc::RpcServer::Start(options, {transport_->service()});
    INVARIANT(server.ok(), server.status().ToString());
    server_ = *std::move(server);
    server_loop_ = std::make_unique<rpc::CompletionLoop>(
        "served", std::move(server_->TakeQueues()[0]));
    transport_->Serve(server_loop_.get());
  }
  void StartRaft(const RaftNodeOptions& options) {
    RaftNodeEvents events;
    events.apply = [this](const raft::Entry& entry) {
      if (entry.type != raft::EntryType::kRecords) return;
      board_->Applied(n_, std::string(entry.payload.view()));
    };
    events.on_soft_state = [this](const raft::SoftState& soft) {
      board_->Role(n_, soft.role == raft::Role::kLeader);
    };
    raft_ = std::make_unique<RaftNode>(
        RaftNode::Deps{&executor_, &writer_, &clock_, store_.get(),
                       transport_.get()},
        options, std::move(events), static_cast<uint64_t>(n_));
    const absl::Status started = raft_->Start();
    INVARIANT(started.ok(), started.ToString());
  }
  void OnExecutor(const std::function<void()>& task) {
    std::promise<void> done;
    executor_.Post([&] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }

  const int n_;
  Board* const board_;
  RealClock clock_;
  std::unique_ptr<RocksKvStore> kv_;
  ThreadExecutor executor_{"controller"};
  ThreadExecutor writer_{"raft-log"};
  rpc::CompletionLoop client_loop_{"calls"};
  std::unique_ptr<RaftLogStore> store_;
  std::unique_ptr<GrpcRaftTransport> transport_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<rpc::CompletionLoop> server_loop_;
  std::unique_ptr<RaftNode> raft_;
};

class RaftOverGrpcTest : public testing::Test {
 protected:
  RaftOverGrpcTest()
      : directory_(StrCat(testing::TempDir(), "/raft-", getpid())) {
    for (int n = 1; n <= 3; ++n) {
      endpoints_[n] = ChooseEndpoint(n);
      std::filesystem::create_directories(PathOf(n));
    }
    for (int n = 1; n <= 3; ++n) Boot(n);
  }
  ~RaftOverGrpcTest() override {
    nodes_.clear();
    std::filesystem::remove_all(directory_);
  }
  std::string PathOf(int n) const { return StrCat(directory_, "/", n); }
  void Boot(int n) {
    nodes_[n] = std::make_unique<Node>(
        n, endpoints_, DirectoryId(Uuid(7, static_cast<uint64_t>(n))),
        PathOf(n), &board_);
  }
  void Kill(int n) { nodes_[n].reset(); }

  // At whoever leads, as often as it takes.
  void Commit(const std::string& payload) {
    const auto until = std::chrono::steady_clock::now() + kLong;
    while (std::chrono::steady_clock::now() < until) {
      if (nodes_.at(board_.WaitLeader())->Propose(payload).ok()) {
        committed_.push_back(payload);
        return;
      }
    }
    FAIL() << payload << " was never committed";
  }

  const std::string directory_;
  Board board_;
  std::map<int, api::Endpoint> endpoints_;
  std::map<int, std::unique_ptr<Node>> nodes_;
  std::vector<std::string> committed_;
};

TEST_F(RaftOverGrpcTest, NothingCommittedIsLostWhenLeadersAreKilled) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 50; ++i) Commit(StrCat(round, "-", i));
    const int killed = board_.WaitLeader();
    Kill(killed);
    for (int i = 50; i < 100; ++i) Commit(StrCat(round, "-", i));
    Boot(killed);
    board_.WaitApplied(killed, committed_);
  }

  for (int n = 1; n <= 3; ++n) board_.WaitApplied(n, committed_);
  for (int n = 2; n <= 3; ++n) {
    const auto a = board_.applied(1), b = board_.applied(n);
    const size_t both = std::min(a.size(), b.size());
    EXPECT_TRUE(std::equal(a.begin(), a.begin() + both, b.begin()))
        << "node " << n << " applied another history";
  }
}

TEST_F(RaftOverGrpcTest, LargeEntriesReachAFollowerThatWasAway) {
  Commit("first");
  const int away = board_.WaitLeader() == 1 ? 2 : 1;
  Kill(away);
  for (int i = 0; i < 12; ++i) {
    Commit(StrCat(i, std::string(4 << 20, 'x')));  // past the queue's bound
  }
  Boot(away);
  board_.WaitApplied(away, committed_);
}

}  // namespace
}  // namespace sluice
