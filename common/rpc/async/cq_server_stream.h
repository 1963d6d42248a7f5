// A streaming method served from a completion queue.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "common/rpc/async/completion_loop.h"
#include "common/rpc/async/message_stream.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

// The three shapes of gRPC's streams under one name for each operation.
template <class In, class Out>
struct BidiWire {
  explicit BidiWire(grpc::ServerContext* context) : stream(context) {}
  void Read(In* message, void* tag) { stream.Read(message, tag); }
  void Write(const Out& message, void* tag) { stream.Write(message, tag); }
  void Finish(const grpc::Status& status, void* tag) {
    stream.Finish(status, tag);
  }
  grpc::ServerAsyncReaderWriter<Out, In> stream;
};

// Server streaming: one request, kept here, then messages out.
template <class In, class Out>
struct PushWire {
  explicit PushWire(grpc::ServerContext* context) : stream(context) {}
  void Read(In*, void*) { INVARIANT(false, "this method has one request"); }
  void Write(const Out& message, void* tag) { stream.Write(message, tag); }
  void Finish(const grpc::Status& status, void* tag) {
    stream.Finish(status, tag);
  }
  In request;
  grpc::ServerAsyncWriter<Out> stream;
};

// Client streaming: messages in, an empty Out at a good end.
template <class In, class Out>
struct UploadWire {
  explicit UploadWire(grpc::ServerContext* context) : stream(context) {}
  void Read(In* message, void* tag) { stream.Read(message, tag); }
  void Write(const Out&, void*) {
    INVARIANT(false, "this method answers at its end only");
  }
  void Finish(const grpc::Status& status, void* tag) {
    if (status.ok()) {
      stream.Finish(Out(), status, tag);
    } else {
      stream.FinishWithError(status, tag);
    }
  }
  grpc::ServerAsyncReader<Out, In> stream;
};

// Takes one call after the other, as many at a time as come: what accepts
// them bounds their number, by closing with BUSY.
template <class In, class Out, class Wire>
class CqStreamMethod {
 public:
  using Stream = MessageStream<In, Out>;

  struct Deps {
    CompletionLoop* loop = nullptr;
    // AsyncService::RequestX with the arguments in its own order.
    std::function<void(grpc::ServerContext*, Wire*,
                       grpc::ServerCompletionQueue*, void* tag)>
        request;
    // A call came in. On the loop's thread, before the stream starts: posts to
    // the stream's executor, which attaches.
    std::function<void(std::shared_ptr<Stream>, Wire&)> accept;
    typename Stream::Options options;
  };

  explicit CqStreamMethod(Deps deps) : deps_(std::move(deps)) {}

  // After the server has been built; once. The method outlives the loop's
  // Stop.
  void Listen() {
    auto call = std::make_shared<Call>(this);
    call->Arm(call);
  }

 private:
  class Call;

  Deps deps_;
};

template <class In, class Out, class Wire>
class CqStreamMethod<In, Out, Wire>::Call final : public StreamTransport<Out>,
                                                  public LoopCall {
 public:
  explicit Call(CqStreamMethod* method) : method_(method), wire_(&context_) {}

  void Arm(std::shared_ptr<Call> self) {
    if (!loop().Enter(this)) return;
    self_ = std::move(self);
    context_.AsyncNotifyWhenDone(static_cast<CompletionTag*>(&gone_tag_));
    method_->deps_.request(&context_, &wire_, loop().server_queue(),
                           static_cast<CompletionTag*>(&arrived_tag_));
  }

  void CancelCall() override {
    if (arrived_) context_.TryCancel();
  }

  void StartRead() override {
    ++pending_;
    wire_.Read(&incoming_, static_cast<CompletionTag*>(&read_tag_));
  }
  // No buffer hints: gRPC 1.51 keeps a server's first message back when it
  // has one, and never completes it.
  void StartWrite(Out message) override {
    ++pending_;
    wire_.Write(message, static_cast<CompletionTag*>(&write_tag_));
  }
  void StartFinish(const absl::Status& status) override {
    ++pending_;
    wire_.Finish(ToGrpcStatus(status),
                 static_cast<CompletionTag*>(&finish_tag_));
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  CompletionLoop& loop() { return *method_->deps_.loop; }

  void OnArrived(bool ok) {
    if (!ok) {  // the server is shutting down; gone_tag_ never comes
      const auto self = std::move(self_);
      loop().Leave(this);
      return;
    }
    method_->Listen();
    arrived_ = true;
    ++pending_;  // gone_tag_
    stream_ = std::make_shared<Stream>(method_->deps_.options);
    method_->deps_.accept(stream_, wire_);
    stream_->Start(self_);
  }
  void OnGone(bool) {
    --pending_;
    // Not cancelled: our own status is what ended it.
    if (context_.IsCancelled()) stream_->OnBroken();
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
  // After the last completion: none follows, none may be started.
  void MaybeEnd() {
    if (!finished_ || pending_ > 0) return;
    const auto self = std::move(self_);
    stream_->OnDone(absl::OkStatus());
    stream_ = nullptr;
    loop().Leave(this);
  }

  CqStreamMethod* const method_;
  grpc::ServerContext context_;
  Wire wire_;
  MemberTag<Call> arrived_tag_{this, &Call::OnArrived};
  MemberTag<Call> gone_tag_{this, &Call::OnGone};
  MemberTag<Call> read_tag_{this, &Call::OnReadDone};
  MemberTag<Call> write_tag_{this, &Call::OnWriteDone};
  MemberTag<Call> finish_tag_{this, &Call::OnFinished};

  // From Arm to the last completion; touched on the loop's thread.
  std::shared_ptr<Call> self_;
  std::shared_ptr<Stream> stream_;
  In incoming_;
  bool finished_ = false;
  std::atomic<bool> arrived_ = false;
  std::atomic<int> pending_ = 0;  // operations on the queue
};

}  // namespace sluice::rpc
