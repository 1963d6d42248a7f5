// One controller's transport against another's, over a socket.
#include "controller/rpc/grpc_raft_transport.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "common/base/error.h"
#include "common/env/thread_executor.h"
#include "common/rpc/server.h"

namespace sluice {
namespace {

// What a transport told, to be waited for.
class Events {
 public:
  RaftTransportEvents Listener() {
    return {.on_message =
                [this](raft::Message m) {
                  Note([&] { messages_.push_back(std::move(m)); });
                  return answer_;
                },
            .on_link_up = [this](NodeId peer) {
              Note([&] { ups_.push_back(peer); });
            },
            .on_link_broken = [this](NodeId peer) {
              Note([&] { broken_.push_back(peer); });
            }};
  }
  void AnswerWith(absl::Status status) { answer_ = std::move(status); }

  raft::Message WaitMessage(size_t n) {
    return Wait([&] { return messages_.size() >= n; }, messages_, n);
  }
  NodeId WaitUp(size_t n) {
    return Wait([&] { return ups_.size() >= n; }, ups_, n);
  }
  NodeId WaitBroken(size_t n) {
    return Wait([&] { return broken_.size() >= n; }, broken_, n);
  }

 private:
  template <class F>
  void Note(F f) {
    std::lock_guard lock(mutex_);
    f();
    changed_.notify_all();
  }
  template <class P, class T>
  T Wait(P ready, const std::vector<T>& from, size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, ready);
    return from[n - 1];
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<raft::Message> messages_;
  std::vector<NodeId> ups_;
  std::vector<NodeId> broken_;
  absl::Status answer_;
};

// A controller process as far as its Raft edge goes.
class Node {
 public:
  Node(int port, std::vector<RaftPeerAddress> peers) {
    transport_ = std::make_unique<GrpcRaftTransport>(
        GrpcRaftTransport::Deps{&executor_, &client_loop_, std::move(peers),
                                /*random_seed=*/1});
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = {"127.0.0.1", port};
    options.completion_queues = 1;
    server_ = *rpc::RpcServer::Start(options, {transport_->service()});
    server_loop_ = std::make_unique<rpc::CompletionLoop>(
        "served", std::move(server_->TakeQueues()[0]));
    transport_->Serve(server_loop_.get());
    executor_.Post([this] { transport_->Start(events.Listener()); });
  }
  ~Node() {
    executor_.Post([this] { transport_->Stop(); });
    server_->Shutdown(0);
    server_loop_->Stop();
    client_loop_.Stop();
    server_.reset();
    executor_.Stop();
  }

  int port() const { return server_->port(); }
  void Send(int to, raft::Message message) {
    executor_.Post([this, to, message = std::move(message)]() mutable {
      transport_->Send(NodeId(to), std::move(message));
    });
  }

  Events events;

 private:
  ThreadExecutor executor_{"controller"};
  rpc::CompletionLoop client_loop_{"calls"};
  std::unique_ptr<GrpcRaftTransport> transport_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<rpc::CompletionLoop> server_loop_;
};

raft::Message AppendOf(const std::string& payload) {
  raft::Message message;
  message.type = raft::MessageType::kAppend;
  message.cluster_id = ClusterId(Uuid(1, 2));
  message.from = {NodeId(1), DirectoryId(Uuid(3, 4))};
  message.to = {NodeId(2), DirectoryId(Uuid(5, 6))};
  message.term = Term(7);
  message.entries.push_back({Term(7), LogIndex(9), raft::EntryType::kRecords,
                             Buffer::CopyOf(payload)});
  return message;
}

TEST(GrpcRaftTransportTest, MessagesArriveInOrderWithTheirEntries) {
  Node two(0, {});
  Node one(0, {{NodeId(2), {"127.0.0.1", two.port()}}});
  ASSERT_EQ(one.events.WaitUp(1), NodeId(2));

  for (int i = 0; i < 100; ++i) one.Send(2, AppendOf(StrCat("entry ", i)));

  for (int i = 0; i < 100; ++i) {
    const raft::Message got = two.events.WaitMessage(i + 1);
    EXPECT_EQ(got.term, Term(7));
    ASSERT_EQ(got.entries.size(), 1u);
    EXPECT_EQ(got.entries[0].payload.view(), StrCat("entry ", i));
  }
}

TEST(GrpcRaftTransportTest, APeerThatEndsIsToldAtOnceAndReachedWhenItIsBack) {
  auto two = std::make_unique<Node>(0, std::vector<RaftPeerAddress>());
  const int port = two->port();
  Node one(0, {{NodeId(2), {"127.0.0.1", port}}});
  one.events.WaitUp(1);

  two.reset();
  EXPECT_EQ(one.events.WaitBroken(1), NodeId(2));

  two = std::make_unique<Node>(port, std::vector<RaftPeerAddress>());
  EXPECT_EQ(one.events.WaitUp(2), NodeId(2));
  one.Send(2, AppendOf("again"));
  EXPECT_EQ(two->events.WaitMessage(1).entries[0].payload.view(), "again");
}

TEST(GrpcRaftTransportTest, ASenderThatEndsBreaksTheLinkAtTheReceiverToo) {
  Node two(0, {});
  auto one = std::make_unique<Node>(
      0, std::vector<RaftPeerAddress>{{NodeId(2), {"127.0.0.1", two.port()}}});
  one->events.WaitUp(1);
  one->Send(2, AppendOf("hello"));
  two.events.WaitMessage(1);

  one.reset();

  EXPECT_EQ(two.events.WaitBroken(1), NodeId(1));
}

TEST(GrpcRaftTransportTest, AMessageThatIsRefusedClosesTheStream) {
  Node two(0, {});
  two.events.AnswerWith(
      MakeError(ErrorCode::kInconsistentClusterId, "another cluster's"));
  Node one(0, {{NodeId(2), {"127.0.0.1", two.port()}}});
  one.events.WaitUp(1);

  one.Send(2, AppendOf("who are you"));

  EXPECT_EQ(one.events.WaitBroken(1), NodeId(2));
}

TEST(GrpcRaftTransportTest, WhatIsNoRaftMessageClosesTheStream) {
  Node two(0, {});
  auto stub = internal::v1::RaftService::NewStub(rpc::MakeChannel(
      {"127.0.0.1", two.port()}, rpc::ChannelUse::kControl));
  grpc::ClientContext context;
  internal::v1::RaftClosed closed;
  auto stream = stub->Exchange(&context, &closed);
  internal::v1::RaftMessage message;
  message.set_type(-4);

  stream->Write(message);

  EXPECT_EQ(CodeOf(rpc::FromGrpcStatus(stream->Finish())),
            ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice
