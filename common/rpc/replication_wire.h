// Replication frames on the wire and back. Pure; any thread.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "absl/status/statusor.h"
#include "client/peers/replication_stream.h"

namespace sluice::rpc {

// Record batches leave as the slices they are kept in.
grpc::ByteBuffer EncodeLeaderFrame(LeaderFrame frame);
grpc::ByteBuffer EncodeFollowerFrame(const FollowerFrame& frame);

// Empties `bytes`. INVALID_REQUEST names what no peer of ours sends (an id of
// the wrong length, a negative number where none may be): end the stream.
absl::StatusOr<LeaderFrame> DecodeLeaderFrame(grpc::ByteBuffer* bytes);
absl::StatusOr<FollowerFrame> DecodeFollowerFrame(grpc::ByteBuffer* bytes);

}  // namespace sluice::rpc
