#include "common/rpc/async/completion_loop.h"

#include <pthread.h>

#include <utility>

#include "common/base/invariant.h"

namespace sluice::rpc {

CompletionLoop::CompletionLoop(std::string name)
    : name_(std::move(name)),
      queue_(std::make_unique<grpc::CompletionQueue>()),
      thread_([this] { Run(); }) {}

CompletionLoop::CompletionLoop(
    std::string name, std::unique_ptr<grpc::ServerCompletionQueue> queue)
    : name_(std::move(name)), server_queue_(queue.get()) {
  queue_ = std::move(queue);
  thread_ = std::thread([this] { Run(); });
}

CompletionLoop::~CompletionLoop() { Stop(); }

void CompletionLoop::Stop() {
  if (!thread_.joinable()) return;
  INVARIANT(std::this_thread::get_id() != thread_.get_id(), "loop ", name_,
            " stopped from its own thread");
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    // A call leaves only under the lock, so each is alive here.
    for (LoopCall* call : calls_) call->CancelCall();
    all_left_.wait(lock, [this] { return calls_.empty(); });
  }
  queue_->Shutdown();
  thread_.join();
}

bool CompletionLoop::Enter(LoopCall* call) {
  std::lock_guard lock(mutex_);
  if (stopping_) return false;
  calls_.insert(call);
  return true;
}

void CompletionLoop::Leave(LoopCall* call) {
  std::lock_guard lock(mutex_);
  calls_.erase(call);
  if (calls_.empty()) all_left_.notify_all();
}

void CompletionLoop::Run() {
  pthread_setname_np(pthread_self(), name_.substr(0, 15).c_str());
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    static_cast<CompletionTag*>(tag)->OnComplete(ok);
  }
}

}  // namespace sluice::rpc
