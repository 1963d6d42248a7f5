// ReplicationService of the internal listener: followers' streams handed to
// the broker's ReplicationAcceptor.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "client/peers/replication_stream.h"
#include "sluice/internal/v1/replication.grpc.pb.h"

namespace sluice {

// Takes and gives bytes, so that record batches leave as the slices they are
// kept in. A stream lives until its follower, the acceptor or the server's
// shutdown ends it.
class ReplicationService final
    : public internal::v1::ReplicationService::WithRawCallbackMethod_Fetch<
          internal::v1::ReplicationService::Service> {
 public:
  // The acceptor and its executor outlive the server.
  explicit ReplicationService(ReplicationAcceptor* acceptor)
      : acceptor_(acceptor) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Fetch(
      grpc::CallbackServerContext* context) override;

 private:
  ReplicationAcceptor* const acceptor_;
};

}  // namespace sluice
