// A gRPC completion queue and the one thread that runs what it completes.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace sluice::rpc {

// What a queue gives back. OnComplete runs on the loop's thread and neither
// blocks nor computes for long: all calls of the loop wait for it.
class CompletionTag {
 public:
  virtual ~CompletionTag() = default;
  virtual void OnComplete(bool ok) = 0;
};

// Hands a completion to a method of the call that owns the tag.
template <class Call>
class MemberTag final : public CompletionTag {
 public:
  MemberTag(Call* call, void (Call::*method)(bool ok))
      : call_(call), method_(method) {}
  void OnComplete(bool ok) override { (call_->*method_)(ok); }

 private:
  Call* const call_;
  void (Call::*const method_)(bool ok);
};

// A call that has, or may start, operations on the loop's queue.
class LoopCall {
 public:
  virtual ~LoopCall() = default;
  // Any thread; the call ends soon after.
  virtual void CancelCall() = 0;
};

// Control traffic has loops of its own, one for what this process serves and
// one for what it calls, so that data traffic cannot stall it.
//
// Stop, or the destructor: cancels the calls and waits until each has left;
// what they report is posted to their executors, which must still exist. A
// server's loop stops after grpc::Server::Shutdown returned and before the
// grpc::Server is destroyed. Not called from the loop's own thread.
class CompletionLoop {
 public:
  // For clients. `name` shows in `top -H`; the kernel keeps 15 characters.
  explicit CompletionLoop(std::string name);
  // For a server that has started: `queue` is what RpcServer::TakeQueues gave.
  CompletionLoop(std::string name,
                 std::unique_ptr<grpc::ServerCompletionQueue> queue);
  ~CompletionLoop();
  CompletionLoop(const CompletionLoop&) = delete;
  CompletionLoop& operator=(const CompletionLoop&) = delete;

  void Stop();

  // A call enters before its first operation and leaves after its last
  // completion. False: the loop is stopping, nothing may be started.
  bool Enter(LoopCall* call);
  void Leave(LoopCall* call);

  grpc::CompletionQueue* queue() { return queue_.get(); }
  // Null in a client's loop.
  grpc::ServerCompletionQueue* server_queue() { return server_queue_; }

 private:
  void Run();

  const std::string name_;
  std::unique_ptr<grpc::CompletionQueue> queue_;
  grpc::ServerCompletionQueue* server_queue_ = nullptr;

  std::mutex mutex_;
  std::condition_variable all_left_;
  // Guarded by mutex_.
  std::set<LoopCall*> calls_;
  bool stopping_ = false;

  std::thread thread_;  // last: starts when all else is there
};

}  // namespace sluice::rpc
