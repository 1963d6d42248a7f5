// One stream through an edge: what the scripted broker and the client saw.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "broker/broker_api.h"
#include "common/api/log_api.h"

namespace sluice {

// The broker hears Requests and pushes Responses; the client hears Answers.
// What happens on threads of gRPC's is kept in order; a test waits for it.
template <class Request, class Response, class Answer>
struct ServedStream {
  using AnswerType = Answer;

  std::mutex mutex;
  std::condition_variable changed;
  // Whether the broker's session says of each request that it took it.
  bool consumes = false;

  // ---- The broker's half
  api::CallContext caller;
  std::shared_ptr<StreamSink<Response>> sink;  // null: not opened yet
  std::vector<Request> requests;
  std::vector<absl::Status> no_more;
  int drained = 0;
  int closed = 0;

  // ---- The client's half
  std::vector<Answer> answers;
  std::vector<absl::Status> ended;

  void Tell(const std::function<void()>& change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  // For as long as it takes.
  void Await(const std::function<bool()>& holds) {
    std::unique_lock lock(mutex);
    changed.wait(lock, holds);
  }
  void AwaitOpen() {
    Await([this] { return sink != nullptr; });
  }
  void AwaitEnd() {
    Await([this] { return !ended.empty(); });
  }

  void Open(const api::CallContext& context,
            std::shared_ptr<StreamSink<Response>> opened) {
    Tell([&] {
      caller = context;
      sink = std::move(opened);
    });
  }
};

// The broker's session of a bidirectional Stream.
template <class Stream>
class ServedSession;

template <class Request, class Response, class Answer>
class ServedSession<ServedStream<Request, Response, Answer>> final
    : public StreamSession<Request> {
 public:
  using Stream = ServedStream<Request, Response, Answer>;
  explicit ServedSession(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)) {}

  void OnRequest(Request request) override {
    stream_->Tell([&] { stream_->requests.push_back(std::move(request)); });
    if (stream_->consumes) stream_->sink->Consumed();
  }
  void OnDrained() override {
    stream_->Tell([&] { ++stream_->drained; });
  }
  void OnNoMore(absl::Status why) override {
    stream_->Tell([&] { stream_->no_more.push_back(std::move(why)); });
  }
  void OnClosed() override {
    stream_->Tell([&] { ++stream_->closed; });
  }

 private:
  const std::shared_ptr<Stream> stream_;
};

// What a FakeBroker opens such a stream with.
template <class Request, class Response, class Answer>
auto Serving(std::shared_ptr<ServedStream<Request, Response, Answer>> stream) {
  return [stream](const api::CallContext& context,
                  std::shared_ptr<StreamSink<Response>> sink) {
    stream->Open(context, std::move(sink));
    return std::make_shared<
        ServedSession<ServedStream<Request, Response, Answer>>>(stream);
  };
}

// The client; Reactor is rpc::ClientStream<Out, Answer> or rpc::ClientReader.
template <class Reactor, class Stream>
class ServedClient final : public Reactor {
 public:
  explicit ServedClient(std::shared_ptr<Stream> stream)
      : stream_(std::move(stream)) {}

 private:
  void OnMessage(typename Stream::AnswerType message) override {
    stream_->Tell([&] { stream_->answers.push_back(std::move(message)); });
    this->Consumed();
  }
  void OnClosed(const absl::Status& why) override {
    stream_->Tell([&] { stream_->ended.push_back(why); });
  }
  const std::shared_ptr<Stream> stream_;
};

}  // namespace sluice
