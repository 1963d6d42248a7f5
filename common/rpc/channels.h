// Channels to other nodes, made in one place so that every one has the same
// limits and none shares a connection that it should not.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstdint>
#include <memory>

#include "common/api/log_api.h"

namespace sluice::rpc {

// A request above this is refused with REQUEST_TOO_LARGE; gRPC's own limit,
// past which no handler of ours runs, is kMessageSlackBytes above.
inline constexpr int64_t kPublicRequestBytesMax = int64_t{16} << 20;
inline constexpr int64_t kInternalRequestBytesMax = int64_t{32} << 20;
inline constexpr int64_t kMessageSlackBytes = int64_t{1} << 20;

// Each use has a connection of its own: an 8 MiB fetch answer must not delay a
// heartbeat.
enum class ChannelUse { kData, kControl, kReplication };

// gRPC's retries are off (the client library resends idempotently), the
// connection is never shared with another channel, no proxy from the
// environment is used, a lost connection is tried again after 100 ms (the
// least that gRPC 1.51 takes) and at least every 200 ms, an attempt may take
// 1 s, and a silent peer is noticed by pings: after 3 s for kReplication and
// kControl, 15 s for kData.
grpc::ChannelArguments ChannelArgumentsFor(ChannelUse use);

// Connects when first used. Never fails at once: an address that does not
// answer shows in its calls.
std::shared_ptr<grpc::Channel> MakeChannel(const api::Endpoint& endpoint,
                                           ChannelUse use);

}  // namespace sluice::rpc
