// A subscription on fake hosts.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "broker/handlers/fake_hosts_testing.h"
#include "broker/handlers/subscribe_handler.h"

namespace sluice {

class FakeSink final : public SubscribeSink {
 public:
  void Push(api::SubscribeResponse response) override {
    EXPECT_FALSE(finished.has_value());
    pushed.push_back(std::move(response));
  }
  void Finish(absl::Status status) override {
    EXPECT_FALSE(finished.has_value());
    finished = std::move(status);
  }
  void Cut(absl::Status status) override {
    cut = true;
    Finish(std::move(status));
  }

  std::vector<api::SubscribeResponse> pushed;
  std::optional<absl::Status> finished;
  bool cut = false;
};

class SubscribeHandlerTest : public testing::Test {
 protected:
  using Start = std::variant<api::StartPosition, Offset>;

  SubscribeHandlerTest()
      : sink_(std::make_shared<FakeSink>()),
        stream_(handler_.Subscribe(api::CallContext(), sink_)) {}

  static api::SubscribePartition Of(
      const api::TopicRef& topic, int partition,
      Start start = api::StartPosition::kEarliest) {
    api::SubscribePartition asked;
    asked.topic = topic;
    asked.partition = PartitionIndex(partition);
    asked.start = start;
    return asked;
  }
  void Send(std::vector<api::SubscribePartition> partitions, int64_t credit,
            api::PayloadForm form = api::PayloadForm::kBatches) {
    api::SubscribeRequest request;
    request.partitions = std::move(partitions);
    request.credit_bytes = credit;
    request.form = form;
    stream_->OnRequest(std::move(request));
    fake_.Run();
  }
  void SendFrom(const std::string& rack,
                std::vector<api::SubscribePartition> partitions,
                api::Route route = api::Route::kDirect) {
    api::SubscribeRequest request;
    request.partitions = std::move(partitions);
    request.credit_bytes = 10 << 20;
    request.form = api::PayloadForm::kBatches;
    request.rack = rack;
    request.route = route;
    stream_->OnRequest(std::move(request));
    fake_.Run();
  }
  void Stop(std::vector<api::SubscribePartition> partitions) {
    api::SubscribeRequest request;
    request.stop = std::move(partitions);
    stream_->OnRequest(std::move(request));
    fake_.Run();
  }
  // (partition, next offset) of each push since the last call.
  std::vector<std::pair<int, int64_t>> Pushes() {
    std::vector<std::pair<int, int64_t>> out;
    for (const auto& response : std::exchange(sink_->pushed, {})) {
      EXPECT_TRUE(response.result.error.ok()) << response.result.error.message;
      out.emplace_back(response.result.partition.value(),
                       response.result.next_offset.value());
    }
    return out;
  }
  size_t Waits() { return fake_.even.waits() + fake_.odd.waits(); }

  FakeBroker fake_;
  SubscribeHandler handler_{fake_.deps()};
  std::shared_ptr<FakeSink> sink_;
  std::shared_ptr<SubscribeSession> stream_;
};

inline constexpr int64_t kPlenty = 10 << 20;
using Pairs = std::pair<int, int64_t>;

}  // namespace sluice
