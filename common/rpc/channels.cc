#include "common/rpc/channels.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <climits>
#include <string>

#include "common/rpc/keep_awake.h"

namespace sluice::rpc {
namespace {

// gRPC raises anything below 100 ms to that.
constexpr int kReconnectInitialMs = 100;
constexpr int kReconnectMaxMs = 200;
// gRPC uses the least time between attempts as the time one may take.
constexpr int kConnectTimeoutMs = 1000;
constexpr int kResolveAgainMs = 1000;

struct Keepalive {
  int time_ms;
  int timeout_ms;
};

constexpr Keepalive KeepaliveOf(ChannelUse use) {
  return use == ChannelUse::kData ? Keepalive{10'000, 5'000}
                                  : Keepalive{2'000, 1'000};
}

}  // namespace

grpc::ChannelArguments ChannelArgumentsFor(ChannelUse use) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectInitialMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS,
                   kResolveAgainMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, KeepaliveOf(use).time_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KeepaliveOf(use).timeout_ms);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetMaxSendMessageSize(
      static_cast<int>(kInternalRequestBytesMax + kMessageSlackBytes));
  arguments.SetMaxReceiveMessageSize(
      static_cast<int>(kInternalRequestBytesMax + kMessageSlackBytes));
  return arguments;
}

std::shared_ptr<grpc::Channel> MakeChannel(const api::Endpoint& endpoint,
                                           ChannelUse use) {
  PinCallbackThreads();
  return grpc::CreateCustomChannel("dns:///" + endpoint.ToString(),
                                   grpc::InsecureChannelCredentials(),
                                   ChannelArgumentsFor(use));
}

}  // namespace sluice::rpc
