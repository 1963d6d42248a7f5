// Raft's messages between controllers over gRPC: one stream per ordered pair,
// on completion queues, so that data traffic cannot stall an election.
#pragma once

#include <grpcpp/impl/service_type.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "common/api/log_api.h"
#include "common/base/random.h"
#include "common/env/executor.h"
#include "common/rpc/async/completion_loop.h"
#include "common/rpc/async/cq_server_stream.h"
#include "common/rpc/async/message_stream.h"
#include "controller/raft_driver/raft_transport.h"
#include "sluice/internal/v1/raft.grpc.pb.h"

namespace sluice {

struct RaftPeerAddress {
  NodeId id;
  api::Endpoint endpoint;  // of its internal listener
};

// Opens a stream to each peer and keeps opening it, 50 to 200 ms after a
// failure; takes the peers' streams to this node through service().
//
// Order: construct; pass service() to the internal listener, Serve() with the
// loop that has taken its completion queue; Start and Send belong to the
// executor (RaftNode calls them). To stop: Stop() on the executor (RaftNode
// does), the listener's Shutdown, both loops' Stop, then destroy the listener,
// this, and the executor last.
class GrpcRaftTransport final : public RaftTransport {
 public:
  // A sender that gets so far ahead of the wire is dropped from, not queued
  // for: Raft sends again.
  static constexpr size_t kQueueBytesMax = size_t{16} << 20;
  // Streams to this node at a time; more are closed with BUSY.
  static constexpr size_t kIncomingMax = 64;
  static constexpr int64_t kReopenMinUs = 50'000;
  static constexpr int64_t kReopenMaxUs = 200'000;
  // After a peer said that this node is none of its cluster.
  static constexpr int64_t kRefusedWaitUs = 1'000'000;

  struct Deps {
    Executor* executor = nullptr;             // the controller's
    rpc::CompletionLoop* client_loop = nullptr;
    std::vector<RaftPeerAddress> peers;       // without this node
    uint64_t random_seed = 0;
  };

  explicit GrpcRaftTransport(Deps deps);
  ~GrpcRaftTransport() override;

  grpc::Service* service() { return &service_; }
  void Serve(rpc::CompletionLoop* server_loop);

  void Start(RaftTransportEvents events) override;
  void Stop() override;
  void Send(NodeId to, raft::Message message) override;

 private:
  using Out = rpc::MessageStream<internal::v1::RaftClosed,
                                 internal::v1::RaftMessage>;
  using In = rpc::MessageStream<internal::v1::RaftMessage,
                                internal::v1::RaftClosed>;
  using Wire =
      rpc::UploadWire<internal::v1::RaftMessage, internal::v1::RaftClosed>;
  using Method = rpc::CqStreamMethod<internal::v1::RaftMessage,
                                     internal::v1::RaftClosed, Wire>;

  // The stream from this node to a peer.
  struct Link {
    api::Endpoint endpoint;
    std::shared_ptr<Out> stream;  // null between attempts
    uint64_t attempt = 0;
    bool up = false;
    bool complained = false;  // one log line for a peer that stays away
    TimerId timer = 0;
  };
  // A stream from some peer to this node.
  struct Incoming {
    std::shared_ptr<In> stream;
    NodeId from = kNoNode;  // until its first message
  };

  void Open(NodeId peer);
  void OnLinkClosed(NodeId peer, uint64_t attempt, const absl::Status& why);
  void Accept(std::shared_ptr<In> stream);
  void OnMessage(uint64_t id, internal::v1::RaftMessage message);
  void OnIncomingClosed(uint64_t id);
  void CloseIncoming(uint64_t id, absl::Status why);
  // Later events of a stopped transport find it gone.
  bool running() const { return running_; }

  const Deps deps_;
  internal::v1::RaftService::AsyncService service_;
  std::shared_ptr<Method> method_;

  // On the executor.
  Random random_;
  RaftTransportEvents events_;
  bool running_ = false;
  std::map<NodeId, Link> links_;
  std::map<uint64_t, Incoming> incoming_;
  uint64_t next_incoming_ = 1;
  // Posted tasks hold it weakly.
  std::shared_ptr<GrpcRaftTransport*> alive_;
};

}  // namespace sluice
