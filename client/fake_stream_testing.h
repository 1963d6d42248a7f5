// ProduceStream of the fake cluster.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "client/fake_cluster_testing.h"

namespace sluice {

// One ProduceStream: requests arrive in order, results go back in order by
// partition, each in an answer of its own.
class FakeStream final : public std::enable_shared_from_this<FakeStream> {
 public:
  FakeStream(FakeCluster* cluster, NodeId id, Executor* executor,
             ProduceStreamEvents events)
      : cluster_(cluster),
        id_(id),
        executor_(executor),
        events_(std::move(events)) {}

  void Send(api::ProduceStreamRequest frame) {
    if (over_) return;
    ++cluster_->calls["Produce"];
    for (const auto& part : frame.request.partitions) {
      int& in_flight = cluster_->in_flight[NameOf(part)];
      cluster_->max_in_flight = std::max(cluster_->max_in_flight, ++in_flight);
      ++unanswered_[NameOf(part)];
    }
    last_arrival_us_ =
        std::max(last_arrival_us_, cluster_->world_->MonoMicros() + Latency());
    At(last_arrival_us_,
       [frame = std::make_shared<api::ProduceStreamRequest>(std::move(frame))](
           FakeStream& self) { self.Arrive(std::move(*frame)); });
  }
  void Close() { over_ = true; ForgetUnanswered(); }
  void BreakSoon() {
    At(cluster_->world_->MonoMicros() + Latency(),
       [](FakeStream& self) { self.Break("connection reset"); });
  }
  void Break(const char* why) {
    if (std::exchange(over_, true)) return;
    ForgetUnanswered();
    events_.on_closed(absl::UnavailableError(why));
  }

 private:
  static std::string NameOf(const api::ProducePartition& part) {
    return StrCat(part.topic.name, "-", *part.partition);
  }
  int64_t Latency() {
    return cluster_->random_.Between(FakeCluster::kLatencyMinUs,
                                     FakeCluster::kLatencyMaxUs);
  }
  void At(int64_t at_us, std::function<void(FakeStream&)> step) {
    executor_->PostAfter(at_us - cluster_->world_->MonoMicros(),
                         [weak = weak_from_this(), step = std::move(step)] {
                           const auto self = weak.lock();
                           if (self != nullptr && !self->over_) step(*self);
                         });
  }
  void ForgetUnanswered() {
    for (const auto& [name, count] : unanswered_) {
      cluster_->in_flight[name] -= count;
    }
    unanswered_.clear();
  }

  void Arrive(api::ProduceStreamRequest frame) {
    if (hung_) return;
    if (cluster_->down_.contains(id_)) return Break("connection refused");
    const auto fate = cluster_->fate ? cluster_->fate(id_, "Produce")
                                     : FakeCluster::Fate::kDeliver;
    if (fate == FakeCluster::Fate::kHang) {
      hung_ = true;
      return;
    }
    if (fate == FakeCluster::Fate::kLoseRequest) return Break("reset");
    auto response = cluster_->Produce(id_, std::move(frame.request));
    if (fate == FakeCluster::Fate::kLoseAnswer) return Break("reset");
    auto left = std::make_shared<size_t>(response.results.size());
    for (api::ProduceResult& result : response.results) {
      const std::string name = StrCat(result.topic.name, "-", result.partition);
      int64_t& last_us = last_answer_us_[name];
      const int64_t extra_us = cluster_->answer_delay_us.contains(name)
                                   ? cluster_->answer_delay_us[name]
                                   : 0;
      last_us = std::max(
          last_us, cluster_->world_->MonoMicros() + Latency() + extra_us);
      At(last_us, [id = frame.correlation_id, result = std::move(result), name,
                   left](FakeStream& self) {
        if (self.cluster_->down_.contains(self.id_)) {
          return self.Break("connection reset");
        }
        --self.cluster_->in_flight[name];
        --self.unanswered_[name];
        api::ProduceStreamResponse answer;
        answer.correlation_id = id;
        answer.results.push_back(result);
        answer.complete = --*left == 0;
        self.events_.on_frame(std::move(answer));
      });
    }
  }

  FakeCluster* const cluster_;
  const NodeId id_;
  Executor* const executor_;
  ProduceStreamEvents events_;
  int64_t last_arrival_us_ = 0;
  std::map<std::string, int64_t> last_answer_us_;
  std::map<std::string, int> unanswered_;
  bool hung_ = false;
  bool over_ = false;
};

class FakeSender final : public ProduceSender {
 public:
  explicit FakeSender(std::shared_ptr<FakeStream> stream)
      : stream_(std::move(stream)) {}
  ~FakeSender() override { stream_->Close(); }
  void Send(api::ProduceStreamRequest frame) override {
    stream_->Send(std::move(frame));
  }
  void Close() override { stream_->Close(); }

 private:
  const std::shared_ptr<FakeStream> stream_;
};

}  // namespace sluice
