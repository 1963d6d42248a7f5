// A BrokerApi that a test scripts, and an edge and a peer around it without a
// port.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker_api.h"
#include "broker/rpc/fake_groups_testing.h"
#include "broker/rpc/public_edge.h"
#include "client/grpc_peers/grpc_broker_peer.h"
#include "client/grpc_peers/grpc_group_peer.h"
#include "common/env/real_clock.h"
#include "common/env/thread_executor.h"
#include "common/rpc/status_wire.h"

namespace sluice {

// A value that another thread gives.
template <class T>
class Awaited {
 public:
  void Set(T value) {
    std::lock_guard lock(mutex_);
    value_.emplace(std::move(value));
    set_.notify_all();
  }
  T Get() {
    std::unique_lock lock(mutex_);
    set_.wait(lock, [this] { return value_.has_value(); });
    return *std::move(value_);
  }
  bool is_set() {
    std::lock_guard lock(mutex_);
    return value_.has_value();
  }

 private:
  std::mutex mutex_;
  std::condition_variable set_;
  std::optional<T> value_;
};

// Calls that are not scripted fail the test. Methods run on threads of gRPC's.
class FakeBroker final : public BrokerApi {
 public:
  using ProduceDone = api::Answer<api::ProduceResponse>;
  using FetchDone = api::Answer<api::FetchResponse>;
  using ListOffsetsDone = api::Answer<api::ListOffsetsResponse>;

  std::function<void(const api::CallContext&, api::ProduceRequest, ProduceDone)>
      on_produce;
  std::function<CancelCall(const api::CallContext&, api::FetchRequest,
                           FetchDone)>
      on_fetch;
  std::function<void(const api::CallContext&, api::ListOffsetsRequest,
                     ListOffsetsDone)>
      on_list_offsets;
  std::function<std::shared_ptr<SubscribeSession>(
      const api::CallContext&, std::shared_ptr<SubscribeSink>)>
      on_subscribe;
  std::function<std::shared_ptr<ProduceSession>(
      const api::CallContext&, std::shared_ptr<ProduceSink>)>
      on_produce_stream;

  void Produce(const api::CallContext& context, api::ProduceRequest request,
               absl::AnyInvocable<void()> order_fixed,
               ProduceDone done) override {
    order_fixed();
    on_produce(context, std::move(request), std::move(done));
  }
  std::shared_ptr<ProduceSession> ProduceStream(
      const api::CallContext& context, const api::ProduceStreamRequest&,
      std::shared_ptr<ProduceSink> sink) override {
    return on_produce_stream(context, std::move(sink));
  }
  CancelCall Fetch(const api::CallContext& context, api::FetchRequest request,
                   FetchDone done) override {
    return on_fetch(context, std::move(request), std::move(done));
  }
  void ListOffsets(const api::CallContext& context,
                   api::ListOffsetsRequest request,
                   ListOffsetsDone done) override {
    on_list_offsets(context, std::move(request), std::move(done));
  }
  std::function<void(const api::CallContext&,
                     api::OffsetForLeaderEpochRequest,
                     api::Answer<api::OffsetForLeaderEpochResponse>)>
      on_offset_for_leader_epoch;
  void OffsetForLeaderEpoch(
      const api::CallContext& context, api::OffsetForLeaderEpochRequest request,
      api::Answer<api::OffsetForLeaderEpochResponse> done) override {
    on_offset_for_leader_epoch(context, std::move(request), std::move(done));
  }
  std::function<void(const api::CallContext&, api::DeleteRecordsRequest,
                     api::Answer<api::DeleteRecordsResponse>)>
      on_delete_records;
  void DeleteRecords(const api::CallContext& context,
                     api::DeleteRecordsRequest request,
                     api::Answer<api::DeleteRecordsResponse> done) override {
    on_delete_records(context, std::move(request), std::move(done));
  }
  std::shared_ptr<SubscribeSession> Subscribe(
      const api::CallContext& context,
      std::shared_ptr<SubscribeSink> sink) override {
    return on_subscribe(context, std::move(sink));
  }

  std::function<std::shared_ptr<WatchSession>(
      const api::CallContext&, v1::WatchMetadataRequest,
      std::shared_ptr<WatchSink>)>
      on_watch_metadata;
  std::shared_ptr<WatchSession> WatchMetadata(
      const api::CallContext& context, v1::WatchMetadataRequest request,
      std::shared_ptr<WatchSink> sink) override {
    return on_watch_metadata(context, std::move(request), std::move(sink));
  }

#define SLUICE_CONTROL_CALL(Name)                                        \
  std::function<void(const api::CallContext&, v1::Name##Request,         \
                     PeerReply<v1::Name##Response>)>                     \
      on_##Name;                                                         \
  void Name(const api::CallContext& context, v1::Name##Request request,  \
            PeerReply<v1::Name##Response> reply) override {              \
    on_##Name(context, std::move(request), std::move(reply));            \
  }
  SLUICE_CONTROL_CALL(DescribeCluster)
  SLUICE_CONTROL_CALL(GetMetadata)
  SLUICE_CONTROL_CALL(DescribeQuorum)
  SLUICE_CONTROL_CALL(CreateTopics)
  SLUICE_CONTROL_CALL(CreatePartitions)
  SLUICE_CONTROL_CALL(DeleteTopics)
  SLUICE_CONTROL_CALL(ListTopics)
  SLUICE_CONTROL_CALL(DescribeTopics)
  SLUICE_CONTROL_CALL(DescribeConfigs)
  SLUICE_CONTROL_CALL(AlterConfigs)
  SLUICE_CONTROL_CALL(ElectLeaders)
  SLUICE_CONTROL_CALL(ResetReplica)
  SLUICE_CONTROL_CALL(InitProducerId)
#undef SLUICE_CONTROL_CALL
};

class PublicEdgeTest : public ::testing::Test {
 protected:
  static constexpr int64_t kPatientUs = 600'000'000;

  explicit PublicEdgeTest(rpc::GateLimits limits = {}) {
    PublicEdge::Options options;
    options.limits = limits;
    options.groups = &groups_;
    options.consumers = &consumers_;
    auto edge = PublicEdge::Start(std::move(options), &broker_, &clock_);
    EXPECT_TRUE(edge.ok()) << edge.status();
    edge_ = *std::move(edge);
    channel_ = edge_->InProcessChannel(
        rpc::ChannelArgumentsFor(rpc::ChannelUse::kData));
    peer_ = NewPeer();
    group_peer_ = std::make_unique<GrpcGroupPeer>(GrpcGroupPeer::Deps{
        {"broker", 9001}, &executor_, channel_, "tester"});
  }

  std::unique_ptr<GrpcBrokerPeer> NewPeer() {
    return std::make_unique<GrpcBrokerPeer>(GrpcBrokerPeer::Deps{
        {"broker", 9001}, &executor_, channel_, channel_, "tester"});
  }

  static api::ProduceRequest OneBatch(std::string bytes) {
    api::ProduceRequest request;
    request.partitions.emplace_back();
    request.partitions[0].topic.name = "orders";
    request.partitions[0].partition = PartitionIndex(2);
    request.partitions[0].payload = MutableBuffer::Adopt(std::move(bytes));
    return request;
  }

  absl::StatusOr<api::ProduceResponse> Produce(
      api::ProduceRequest request, int64_t timeout_us = kPatientUs) {
    auto result =
        std::make_shared<Awaited<absl::StatusOr<api::ProduceResponse>>>();
    peer_->Produce(std::move(request), timeout_us,
                   [result](auto reply) { result->Set(std::move(reply)); });
    return result->Get();
  }

  // One message of any bytes to any method: what no stub of ours says.
  absl::Status CallWithBytes(const std::string& path,
                             const std::string& bytes) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::Slice slice(bytes);
    grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    Awaited<absl::Status> status;
    stub.UnaryCall(&context, path, {}, &request, &response,
                   [&](const grpc::Status& s) {
                     status.Set(rpc::FromGrpcStatus(s));
                   });
    return status.Get();
  }

  FakeBroker broker_;
  FakeGroups groups_;
  FakeConsumers consumers_;
  RealClock clock_;
  ThreadExecutor executor_{"client"};
  std::unique_ptr<PublicEdge> edge_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<GrpcBrokerPeer> peer_;
  std::unique_ptr<GrpcGroupPeer> group_peer_;
};

}  // namespace sluice
