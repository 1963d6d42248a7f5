#include "broker/handlers/produce_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {

// Hears of one request that was taken.
class ProduceStream::Request final
    : public ProduceListener,
      public std::enable_shared_from_this<Request> {
 public:
  Request(std::shared_ptr<ProduceStream> stream, int64_t number,
          int64_t correlation_id, int64_t bytes)
      : stream_(std::move(stream)),
        number_(number),
        bytes_(bytes),
        correlation_id_(correlation_id) {}

  // In the order taken.
  int64_t number() const { return number_; }

  void OnRefused(absl::Status why) override {
    api::ProduceStreamResponse refusal;
    refusal.correlation_id = correlation_id_;
    refusal.error = api::ItemError(why);
    refusal.complete = true;
    if (stream_->sink_ != nullptr) stream_->sink_->Push(std::move(refusal));
    stream_->OnComplete(bytes_);
  }
  void OnParts(const std::vector<api::ProduceResult>& parts) override {
    missing_ = parts.size();
    places_.reserve(parts.size());
    for (const api::ProduceResult& part : parts) {
      places_.push_back(stream_->order_.Enter(
          {part.topic.by_id() ? part.topic.id.ToString() : part.topic.name,
           part.partition}));
    }
  }
  void OnOrdered() override { stream_->OnOrdered(); }
  void OnResult(size_t index, api::ProduceResult result) override {
    stream_->order_.Come(
        places_[index],
        [self = shared_from_this(), result = std::move(result)]() mutable {
          self->ready_.push_back(std::move(result));
          --self->missing_;
          if (self->missing_ == 0) return self->stream_->SendNow(*self);
          self->stream_->SendSoon(self);
        });
  }

  void Send() {
    if (ready_.empty()) return;  // gone with the last one
    api::ProduceStreamResponse answer;
    answer.correlation_id = correlation_id_;
    answer.results = std::exchange(ready_, {});
    answer.complete = missing_ == 0;
    const bool complete = answer.complete;
    if (stream_->sink_ != nullptr) stream_->sink_->Push(std::move(answer));
    if (complete) stream_->OnComplete(bytes_);
  }

 private:
  const std::shared_ptr<ProduceStream> stream_;
  const int64_t number_;
  const int64_t bytes_;
  const int64_t correlation_id_;
  std::vector<AnswerOrder::Ticket> places_;
  std::vector<api::ProduceResult> ready_;  // to be sent
  size_t missing_ = 0;
};

ProduceStream::ProduceStream(Deps deps, std::shared_ptr<ProduceSink> sink)
    : deps_(std::move(deps)), sink_(std::move(sink)) {}

void ProduceStream::OnRequest(api::ProduceStreamRequest request) {
  deps_.home->Post(
      [self = shared_from_this(), request = std::move(request)]() mutable {
        self->Receive(std::move(request));
      });
}

// What was answered since then drains too and says so again: nothing waits for
// ever.
void ProduceStream::OnDrained() {
  deps_.home->Post([self = shared_from_this()] {
    self->requests_in_flight_ -= std::exchange(self->undrained_, 0);
    self->ReadOn();
  });
}

void ProduceStream::OnNoMore(absl::Status why) {
  deps_.home->Post([self = shared_from_this(), why = std::move(why)] {
    if (self->no_more_.has_value()) return;
    self->no_more_ = why;
    self->FinishIfDone();
  });
}

void ProduceStream::OnClosed() {
  deps_.home->Post([self = shared_from_this()] { self->End(absl::OkStatus()); });
}

void ProduceStream::End(absl::Status status) {
  const auto sink = std::exchange(sink_, nullptr);
  if (sink == nullptr) return;
  waiting_.clear();
  deps_.share = Budget::Share();
  if (forwarder_ != nullptr) {
    deps_.handler.worker()->Post(
        [forwarder = std::exchange(forwarder_, nullptr)] {
          forwarder->Close();
        });
  }
  sink->Finish(std::move(status));
}

void ProduceStream::Receive(api::ProduceStreamRequest request) {
  if (sink_ == nullptr) return;
  if (requests_in_flight_ >= kRequestsWall) {
    return End(MakeError(ErrorCode::kBusy, requests_in_flight_,
                         " requests of this stream are under way or their "
                         "answers were not read; send fewer at a time"));
  }
  const int64_t bytes = ProduceHandler::BytesHeldBy(request.request);
  ++requests_in_flight_;
  ++unconsumed_;
  bytes_in_flight_ += bytes;
  waiting_.push_back({std::move(request), bytes});
  TakeNext();
  ReadOn();
}

void ProduceStream::ReadOn() {
  while (sink_ != nullptr && unconsumed_ > 0 &&
         requests_in_flight_ < kRequestsInFlightMax &&
         bytes_in_flight_ < kBytesInFlightMax) {
    --unconsumed_;
    sink_->Consumed();
  }
}

void ProduceStream::TakeNext() {
  if (taking_ && !MUTANT(kNextTakenUnordered)) return;
  if (waiting_.empty()) return;
  if (no_more_.has_value() && !no_more_->ok()) return;
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  taking_ = true;
  ++unanswered_;
  if (next.request.request.route == api::Route::kForward &&
      forwarder_ == nullptr) {
    forwarder_ = deps_.handler.NewStreamForwarder(deps_.context);
  }
  std::shared_ptr<ProduceForwarder> forwarder = forwarder_;
  if (MUTANT(kForwardsUnordered)) forwarder = nullptr;
  deps_.handler.Start(
      deps_.context, std::move(next.request.request), deps_.home,
      std::make_shared<Request>(shared_from_this(), taken_++,
                                next.request.correlation_id, next.bytes),
      std::move(forwarder));
}

void ProduceStream::OnOrdered() {
  taking_ = false;
  if (waiting_.empty()) return;
  // Not from here: this may be within TakeNext.
  deps_.home->Post([self = shared_from_this()] { self->TakeNext(); });
}

// A step of the replica core settles many partitions at once: one message says
// so of all that belong to one request.
void ProduceStream::SendSoon(std::shared_ptr<Request> request) {
  sending_.push_back(std::move(request));
  if (sending_.size() > 1) return;
  deps_.home->Post([self = shared_from_this()] {
    SendInOrder(std::exchange(self->sending_, {}));
  });
}

// What requests before it have of the same partitions goes first.
void ProduceStream::SendNow(Request& request) {
  const auto earlier = std::stable_partition(
      sending_.begin(), sending_.end(), [&](const auto& other) {
        return other->number() >= request.number();
      });
  std::vector<std::shared_ptr<Request>> first(
      std::make_move_iterator(earlier),
      std::make_move_iterator(sending_.end()));
  sending_.erase(earlier, sending_.end());
  SendInOrder(std::move(first));
  request.Send();
}

// A partition's results came in the order of the requests; so they go, though a
// request may have had one of another partition before.
void ProduceStream::SendInOrder(
    std::vector<std::shared_ptr<Request>> requests) {
  std::sort(requests.begin(), requests.end(), [](const auto& a, const auto& b) {
    return a->number() < b->number();
  });
  for (const auto& request : requests) request->Send();
}

void ProduceStream::OnComplete(int64_t bytes) {
  --unanswered_;
  ++undrained_;
  bytes_in_flight_ -= bytes;
  ReadOn();
  FinishIfDone();
}

void ProduceStream::FinishIfDone() {
  if (!no_more_.has_value() || unanswered_ > 0) return;
  // A client that closed its half has sent all that waits here; a broker that
  // stops takes nothing new.
  if (no_more_->ok() && !waiting_.empty()) return;
  End(*no_more_);
}

}  // namespace sluice
