// One LogService.Subscribe stream at the edge.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <mutex>

#include "broker/broker_api.h"
#include "common/rpc/endable.h"
#include "common/rpc/gate.h"
#include "common/rpc/server_stream.h"

namespace sluice {

// Messages go to the broker's session in the order read; pushes are queued and
// written one at a time, bounded by the client's credit (at most 64 MiB, by
// SubscribeStream) and, behind that, by kQueueBytesMax.
class SubscribeCall final
    : public rpc::ServerStream<grpc::ByteBuffer, grpc::ByteBuffer>,
      public rpc::Endable {
  struct Private {};

 public:
  static constexpr int64_t kQueueBytesMax = int64_t{128} << 20;

  // What the service's method returns. The stream is ended at once when the
  // gate refuses it.
  static SubscribeCall* Serve(BrokerApi* broker,
                              const std::shared_ptr<rpc::Gate>& gate,
                              const grpc::CallbackServerContext& context);

  SubscribeCall(Private, BrokerApi* broker, std::shared_ptr<rpc::Gate> gate);

  void EndCall(const absl::Status& why) override { End(why); }

 private:
  class Sink;

  void OnMessage(grpc::ByteBuffer bytes) override;
  void OnHalfClosed() override;
  void OnDrained() override;
  void OnClosed(const absl::Status& why) override;

  absl::Status Take(grpc::ByteBuffer bytes);
  void CloseSession();

  BrokerApi* const broker_;
  const std::shared_ptr<rpc::Gate> gate_;
  std::unique_ptr<rpc::Gate::Pass> pass_;  // null: refused
  // Opened by the first message, which says who the client is. Written in the
  // events of reading and in OnClosed, which follows them; events of writing
  // read it beside them.
  std::mutex session_mutex_;
  std::shared_ptr<SubscribeSession> session_;
};

}  // namespace sluice
