// ClusterService.WatchMetadata at the edge.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <mutex>
#include <utility>

#include "broker/broker_api.h"
#include "common/base/error.h"
#include "common/rpc/endable.h"
#include "common/rpc/gate.h"
#include "common/rpc/server_stream.h"
#include "common/rpc/slice_writer.h"

namespace sluice {

// One question, then answers until somebody ends it. The session bounds what
// is queued here: it pushes the next message when the last one is on the wire.
class WatchCall final : public rpc::ServerWriter<grpc::ByteBuffer>,
                        public rpc::Endable {
  struct Private {};

 public:
  // What the service's method returns. The stream is ended at once when the
  // gate refuses it or the request is none.
  static WatchCall* Serve(BrokerApi* broker, rpc::Gate* gate,
                          const grpc::CallbackServerContext& context,
                          const grpc::ByteBuffer& request) {
    const auto call = std::make_shared<WatchCall>(Private());
    call->Start();
    call->Open(broker, gate, context, request);
    return call.get();
  }

  explicit WatchCall(Private) {}

  void EndCall(const absl::Status& why) override { End(why); }

 private:
  class Sink final : public WatchSink {
   public:
    explicit Sink(std::shared_ptr<WatchCall> call) : call_(std::move(call)) {}

    void Push(v1::WatchMetadataResponse response) override {
      grpc::ByteBuffer bytes = rpc::ToByteBuffer(response);
      call_->pass_->CountResponse(static_cast<int64_t>(bytes.Length()));
      call_->Send(std::move(bytes));
    }
    void Finish(absl::Status status) override { call_->End(std::move(status)); }

   private:
    const std::shared_ptr<WatchCall> call_;
  };

  void Open(BrokerApi* broker, rpc::Gate* gate,
            const grpc::CallbackServerContext& context,
            const grpc::ByteBuffer& request) {
    const auto self = std::static_pointer_cast<WatchCall>(shared_from_this());
    auto pass = gate->Admit(rpc::Method::kWatchMetadata, context,
                            static_cast<int64_t>(request.Length()), self);
    if (!pass.ok()) return End(pass.status());
    pass_ = *std::move(pass);
    v1::WatchMetadataRequest message;
    grpc::ByteBuffer bytes = request;
    if (!rpc::ParseMessage(&bytes, &message)) {
      return End(MakeError(ErrorCode::kInvalidRequest,
                           rpc::RowOf(rpc::Method::kWatchMetadata).path,
                           ": the request is no ", message.GetTypeName(),
                           "; compare the client's protos with the broker's"));
    }
    if (!message.client_id().empty()) {
      pass_->context().client_id = message.client_id().substr(
          0, rpc::GateLimits().client_id_bytes_max);
    }
    auto session = broker->WatchMetadata(pass_->context(), std::move(message),
                                         std::make_shared<Sink>(self));
    std::unique_lock lock(session_mutex_);
    const bool drained = drained_early_;
    const bool closed = closed_early_;
    if (!closed) session_ = session;
    lock.unlock();
    if (drained) session->OnDrained();
    if (closed) session->OnClosed();
  }

  // Both may come while Open still waits for the session.
  void OnDrained() override {
    std::unique_lock lock(session_mutex_);
    drained_early_ = session_ == nullptr;
    const auto session = session_;
    lock.unlock();
    if (session != nullptr) session->OnDrained();
  }

  void OnClosed(const absl::Status&) override {
    std::unique_lock lock(session_mutex_);
    closed_early_ = session_ == nullptr;
    const auto session = std::exchange(session_, nullptr);
    lock.unlock();
    if (session != nullptr) session->OnClosed();
    if (pass_ != nullptr) pass_->End();
  }

  std::unique_ptr<rpc::Gate::Pass> pass_;  // null: refused
  std::mutex session_mutex_;
  // Guarded by session_mutex_.
  std::shared_ptr<WatchSession> session_;
  bool drained_early_ = false;
  bool closed_early_ = false;
};

}  // namespace sluice
