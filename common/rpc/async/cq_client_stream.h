// The client's end of a streaming call on a completion queue.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "common/rpc/async/completion_loop.h"
#include "common/rpc/async/message_stream.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

// Every shape of stream is a bidirectional one on the wire; a server-streaming
// method is told by `single_request`.
template <class In, class Out>
class CqClientStream final : public StreamTransport<Out>, public LoopCall {
 public:
  using Stream = MessageStream<In, Out>;

  struct Deps {
    CompletionLoop* loop = nullptr;
    std::shared_ptr<grpc::Channel> channel;
    std::string method;  // "/package.Service/Method"
    // The first message sent is the last.
    bool single_request = false;
    typename Stream::Options options;
  };

  // Never fails at once: what goes wrong shows as on_closed. A call on a
  // channel that cannot connect fails when the attempt does.
  static std::shared_ptr<Stream> Open(Deps deps, MessageEvents<In> events) {
    auto stream = std::make_shared<Stream>(deps.options);
    stream->Attach(std::move(events));
    auto call = std::make_shared<CqClientStream>(std::move(deps), stream);
    call->Start(call);
    return stream;
  }

  CqClientStream(Deps deps, std::shared_ptr<Stream> stream)
      : loop_(deps.loop),
        single_request_(deps.single_request),
        stub_(deps.channel),
        method_(std::move(deps.method)),
        stream_(std::move(stream)) {}

  // Also when the owner is not reading and no read is there to fail.
  void CancelCall() override {
    context_.TryCancel();
    stream_->Fail(absl::UnavailableError("this node is shutting down"));
  }

  void StartRead() override {
    ++pending_;
    call_->Read(&incoming_, static_cast<CompletionTag*>(&read_tag_));
  }
  void StartWrite(Out message) override {
    ++pending_;
    grpc::WriteOptions options;
    if (single_request_) options.set_last_message();
    call_->Write(message, options, static_cast<CompletionTag*>(&write_tag_));
  }
  void StartFinish(const absl::Status&) override {
    ++pending_;
    call_->Finish(&status_, static_cast<CompletionTag*>(&finish_tag_));
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  void Start(std::shared_ptr<CqClientStream> self) {
    if (!loop_->Enter(this)) {
      stream_->OnDone(absl::UnavailableError("this node is shutting down"));
      return;
    }
    self_ = std::move(self);
    call_ = stub_.PrepareCall(&context_, method_, loop_->queue());
    pending_ = 1;
    call_->StartCall(static_cast<CompletionTag*>(&started_tag_));
  }
  // Connected, or not: then a read tells why. Nothing is written before: gRPC
  // uses one set of operations for the start and the writes.
  void OnStarted(bool ok) {
    --pending_;
    if (ok) stream_->OnOpen();
    stream_->Start(self_);
    MaybeEnd();
  }
  void OnReadDone(bool ok) {
    --pending_;
    if (ok) {
      stream_->OnRead(std::move(incoming_));
    } else {
      stream_->OnReadEnd();
    }
    MaybeEnd();
  }
  void OnWriteDone(bool ok) {
    --pending_;
    stream_->OnWritten(ok);
    MaybeEnd();
  }
  void OnFinished(bool) {
    --pending_;
    finished_ = true;
    MaybeEnd();
  }
  void MaybeEnd() {
    if (!finished_ || pending_ > 0) return;
    const auto self = std::move(self_);
    stream_->OnDone(FromGrpcStatus(status_));
    loop_->Leave(this);
  }

  CompletionLoop* const loop_;
  const bool single_request_;
  grpc::TemplatedGenericStub<Out, In> stub_;
  const std::string method_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<Out, In>> call_;
  MemberTag<CqClientStream> started_tag_{this, &CqClientStream::OnStarted};
  MemberTag<CqClientStream> read_tag_{this, &CqClientStream::OnReadDone};
  MemberTag<CqClientStream> write_tag_{this, &CqClientStream::OnWriteDone};
  MemberTag<CqClientStream> finish_tag_{this, &CqClientStream::OnFinished};

  // The stream lets go of this when it is over.
  const std::shared_ptr<Stream> stream_;
  // Written before the first operation, then on the loop's thread only.
  std::shared_ptr<CqClientStream> self_;
  In incoming_;
  grpc::Status status_;
  bool finished_ = false;
  std::atomic<int> pending_ = 0;  // operations on the queue
};

}  // namespace sluice::rpc
