// One controller's transport against another's, over a socket.
#include "controller/rpc/grpc_raft_transport.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <vector>

#include "common/base/error.h"
#include "common/env/thread_executor.h"
#include "common/rpc/async/cq_server_stream.h"
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
  size_t broken_count() {
    std::lock_guard lock(mutex_);
    return broken_.size();
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

  void StopTransport() {
    executor_.Post([this] { transport_->Stop(); });
  }
  void StopCalls() { client_loop_.Stop(); }
  // Until all that was posted so far has run.
  void RunToTheEnd() {
    std::promise<void> done;
    executor_.Post([&] { done.set_value(); });
    done.get_future().get();
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

TEST(GrpcRaftTransportTest, AfterStopNoEventRunsWhateverThePeerDoes) {
  auto two = std::make_unique<Node>(0, std::vector<RaftPeerAddress>());
  Node one(0, {{NodeId(2), {"127.0.0.1", two->port()}}});
  one.events.WaitUp(1);

  one.StopTransport();
  one.RunToTheEnd();
  two.reset();
  one.StopCalls();  // what the break has to tell has been posted
  one.RunToTheEnd();

  EXPECT_EQ(one.events.broken_count(), 0u);
}

// A controller that accepts a stream and reads nothing: SIGSTOPped, swapping.
class Stalled {
 public:
  using Stream = rpc::MessageStream<internal::v1::RaftMessage,
                                    internal::v1::RaftClosed>;
  using Wire =
      rpc::UploadWire<internal::v1::RaftMessage, internal::v1::RaftClosed>;
  using Method = rpc::CqStreamMethod<internal::v1::RaftMessage,
                                     internal::v1::RaftClosed, Wire>;

  Stalled() {
    rpc::ListenerOptions options;
    options.name = "INTERNAL";
    options.bind = {"127.0.0.1", 0};
    options.completion_queues = 1;
    server_ = *rpc::RpcServer::Start(options, {&service_});
    loop_ = std::make_unique<rpc::CompletionLoop>(
        "stalled", std::move(server_->TakeQueues()[0]));
    method_ = std::make_unique<Method>(Method::Deps{
        .loop = loop_.get(),
        .request =
            [this](auto* context, Wire* wire, auto* queue, void* tag) {
              service_.RequestExchange(context, &wire->stream, queue, queue,
                                       tag);
            },
        .accept = [this](std::shared_ptr<Stream> stream,
                         Wire&) { accepted_.set_value(stream); },
        .options = {.executor = &executor_, .state = {.is_server = true}}});
    method_->Listen();
  }
  ~Stalled() {
    server_->Shutdown(0);
    loop_->Stop();
  }
  int port() const { return server_->port(); }
  void ReadOn() {
    rpc::MessageEvents<internal::v1::RaftMessage> events;
    events.on_message = [this](internal::v1::RaftMessage message) {
      std::lock_guard lock(mutex_);
      terms_.push_back(message.term());
      changed_.notify_all();
    };
    accepted_.get_future().get()->AttachAndDrive(std::move(events));
  }
  // The terms of all messages up to the one of this term.
  std::vector<int64_t> WaitTerm(int64_t term) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] {
      return std::find(terms_.begin(), terms_.end(), term) != terms_.end();
    });
    return terms_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> terms_;  // guarded by mutex_
  ThreadExecutor executor_{"stalled"};
  internal::v1::RaftService::AsyncService service_;
  std::promise<std::shared_ptr<Stream>> accepted_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<rpc::CompletionLoop> loop_;
  std::unique_ptr<Method> method_;
};

TEST(GrpcRaftTransportTest, APeerThatDoesNotReadCostsTheBoundAndNoMore) {
  Stalled two;
  Node one(0, {{NodeId(2), {"127.0.0.1", two.port()}}});
  one.events.WaitUp(1);
  const std::string mebibyte(1 << 20, 'x');
  constexpr int64_t kSent = 60;
  constexpr int64_t kKept = GrpcRaftTransport::kQueueBytesMax >> 20;

  for (int64_t i = 0; i < kSent; ++i) {
    raft::Message message = AppendOf(mebibyte);
    message.term = Term(i);
    one.Send(2, std::move(message));
  }
  one.RunToTheEnd();
  two.ReadOn();
  two.WaitTerm(kKept - 4);
  raft::Message marker = AppendOf("after");
  marker.term = Term(kSent);
  one.Send(2, std::move(marker));
  const auto terms = two.WaitTerm(kSent);

  // The wire itself holds a few beyond the bound.
  EXPECT_LT(terms.size(), static_cast<size_t>(kKept) * 2);
  EXPECT_TRUE(std::is_sorted(terms.begin(), terms.end()));
  for (int64_t i = 0; i < kKept - 3; ++i) {
    EXPECT_EQ(terms[static_cast<size_t>(i)], i) << "the oldest are kept";
  }
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
