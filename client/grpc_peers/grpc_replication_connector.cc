#include "client/grpc_peers/grpc_replication_connector.h"

#include <utility>

#include "client/grpc_peers/frame_call.h"
#include "common/rpc/channels.h"
#include "common/rpc/keep_awake.h"
#include "common/rpc/replication_wire.h"

namespace sluice {
namespace {

struct ReplicationCodec {
  using In = LeaderFrame;
  using Out = FollowerFrame;
  static constexpr char kMethod[] =
      "/sluice.internal.v1.ReplicationService/Fetch";

  absl::StatusOr<In> Decode(grpc::ByteBuffer* bytes) const {
    return rpc::DecodeLeaderFrame(bytes);
  }
  grpc::ByteBuffer Encode(Out frame) const {
    return rpc::EncodeFollowerFrame(frame);
  }
};

class GrpcReplicationConnector final : public ReplicationConnector {
 public:
  std::shared_ptr<FollowerStream> Open(
      const api::Endpoint& leader, Executor* executor,
      StreamEvents<LeaderFrame> events) override {
    return OpenFrameCall(
        rpc::MakeChannel(leader, rpc::ChannelUse::kReplication), executor,
        std::move(events), ReplicationCodec());
  }

 private:
  rpc::KeepAwake keep_awake_;
};

}  // namespace

std::unique_ptr<ReplicationConnector> MakeGrpcReplicationConnector() {
  return std::make_unique<GrpcReplicationConnector>();
}

}  // namespace sluice
