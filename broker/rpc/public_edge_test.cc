// Unary calls from the client's peer to a scripted broker and back.
#include "broker/rpc/public_edge.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "broker/rpc/fake_broker_testing.h"
#include "broker/rpc/served_stream_testing.h"
#include "common/base/error.h"
#include "common/rpc/public_methods.h"
#include "common/rpc/status_wire.h"

namespace sluice {
namespace {

TEST_F(PublicEdgeTest, ProduceReachesTheBrokerAndItsAnswerComesBack) {
  const std::string batch(100'000, 'p');
  Awaited<api::CallContext> caller;
  broker_.on_produce = [&](const api::CallContext& context,
                           api::ProduceRequest request,
                           FakeBroker::ProduceDone done) {
    caller.Set(context);
    EXPECT_EQ(std::get<MutableBuffer>(request.partitions[0].payload).view(),
              batch);
    api::ProduceResponse response;
    response.results.emplace_back();
    response.results[0].topic = request.partitions[0].topic;
    response.results[0].partition = *request.partitions[0].partition;
    response.results[0].base_offset = Offset(41);
    done(absl::OkStatus(), std::move(response));
  };

  const auto response = Produce(OneBatch(batch));

  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results[0].topic.name, "orders");
  EXPECT_EQ(response->results[0].partition, PartitionIndex(2));
  EXPECT_EQ(response->results[0].base_offset, Offset(41));
  const api::CallContext context = caller.Get();
  EXPECT_EQ(context.client_id, "tester");
  EXPECT_EQ(context.listener, "PUBLIC");
  EXPECT_EQ(context.principal, "");
  EXPECT_FALSE(context.peer_address.empty());
  // kPatientUs from when the call was made; gRPC rounds to milliseconds.
  EXPECT_LE(context.deadline_us, clock_.MonoMicros() + kPatientUs + 10'000);
  EXPECT_GT(context.deadline_us, clock_.MonoMicros());
  EXPECT_EQ(edge_->gate().CountsOf(rpc::Method::kProduce).calls, 1);
  EXPECT_GT(edge_->gate().CountsOf(rpc::Method::kProduce).request_bytes,
            100'000);
}

TEST_F(PublicEdgeTest, FetchReachesTheBrokerAndItsBatchesComeBack) {
  const std::string batch(300'000, 'f');
  broker_.on_fetch = [&](const api::CallContext& context,
                         api::FetchRequest request,
                         FakeBroker::FetchDone done) -> CancelCall {
    EXPECT_EQ(context.client_id, "tester");
    EXPECT_EQ(request.form, api::PayloadForm::kBatches);
    EXPECT_EQ(request.partitions[0].offset, Offset(17));
    api::FetchResponse response;
    response.results.emplace_back();
    response.results[0].batches = {Buffer::CopyOf(batch), Buffer::CopyOf("x")};
    response.results[0].high_watermark = Offset(99);
    done(absl::OkStatus(), std::move(response));
    return [] { ADD_FAILURE() << "cancelled after the answer"; };
  };
  api::FetchRequest request;
  request.form = api::PayloadForm::kBatches;
  request.partitions.emplace_back();
  request.partitions[0].topic.name = "orders";
  request.partitions[0].offset = Offset(17);

  Awaited<absl::StatusOr<api::FetchResponse>> result;
  peer_->Fetch(request, kPatientUs, [&](auto r) { result.Set(std::move(r)); });

  const auto response = result.Get();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results[0].batches[0].view(), batch + "x");
  EXPECT_EQ(response->results[0].high_watermark, Offset(99));
}

TEST_F(PublicEdgeTest, ListOffsetsReachesTheBroker) {
  broker_.on_list_offsets = [&](const api::CallContext& context,
                                api::ListOffsetsRequest request,
                                FakeBroker::ListOffsetsDone done) {
    EXPECT_EQ(context.client_id, "tester");
    api::ListOffsetsResponse response;
    response.results.emplace_back();
    response.results[0].offset =
        Offset(request.partitions[0].position == api::OffsetPosition::kLatest);
    done(absl::OkStatus(), std::move(response));
  };
  api::ListOffsetsRequest request;
  request.partitions.emplace_back();
  request.partitions[0].position = api::OffsetPosition::kLatest;

  Awaited<absl::StatusOr<api::ListOffsetsResponse>> result;
  peer_->ListOffsets(request, kPatientUs,
                     [&](auto r) { result.Set(std::move(r)); });

  const auto response = result.Get();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results[0].offset, Offset(1));
}

TEST_F(PublicEdgeTest, WhatIsHandedOnIsKnownByTheClientThatCalled) {
  Awaited<std::string> offsets, produce, nameless;
  broker_.on_list_offsets = [&](const api::CallContext& context,
                                api::ListOffsetsRequest request,
                                FakeBroker::ListOffsetsDone done) {
    (request.partitions.empty() ? nameless : offsets).Set(context.client_id);
    done(absl::OkStatus(), {});
  };
  broker_.on_produce = [&](const api::CallContext& context,
                           api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    produce.Set(context.client_id);
    done(absl::OkStatus(), {});
  };
  api::ListOffsetsRequest request;
  peer_->ListOffsets("", request, kPatientUs, [](auto) {});
  request.partitions.emplace_back();
  peer_->ListOffsets("app", request, kPatientUs, [](auto) {});
  peer_->Produce("app", OneBatch("batch"), kPatientUs, [](auto) {});
  EXPECT_EQ(offsets.Get(), "app");
  EXPECT_EQ(produce.Get(), "app");
  EXPECT_EQ(nameless.Get(), "tester");  // the broker between
}

// Request and answer of a control call each carry a mark.
#define SLUICE_CONTROL_TEST(Name, mark_request, request_mark, mark_response, \
                            response_mark)                                   \
  TEST_F(PublicEdgeTest, Name##ReachesTheBrokerAndErrorsComeBackNamed) {     \
    bool fail = false;                                                       \
    broker_.on_##Name = [&](const api::CallContext& context,                 \
                            v1::Name##Request request,                       \
                            PeerReply<v1::Name##Response> reply) {           \
      EXPECT_EQ(context.client_id, "tester");                                \
      EXPECT_TRUE(request_mark);                                             \
      if (fail) {                                                            \
        return reply(MakeError(ErrorCode::kNotController, "none known"));    \
      }                                                                      \
      v1::Name##Response response;                                           \
      mark_response;                                                         \
      reply(std::move(response));                                            \
    };                                                                       \
    v1::Name##Request request;                                               \
    mark_request;                                                            \
    Awaited<absl::StatusOr<v1::Name##Response>> first;                       \
    peer_->Name(request, kPatientUs,                                         \
                [&](auto r) { first.Set(std::move(r)); });                   \
    const auto got = first.Get();                                            \
    ASSERT_TRUE(got.ok()) << got.status();                                   \
    const v1::Name##Response& response = *got;                               \
    EXPECT_TRUE(response_mark);                                              \
    fail = true;                                                             \
    Awaited<absl::StatusOr<v1::Name##Response>> second;                      \
    peer_->Name(request, kPatientUs,                                         \
                [&](auto r) { second.Set(std::move(r)); });                  \
    const absl::Status status = second.Get().status();                       \
    EXPECT_EQ(CodeOf(status), ErrorCode::kNotController);                    \
    EXPECT_EQ(StdView(status.message()), "none known");                      \
  }
SLUICE_CONTROL_TEST(DescribeCluster, (void)request, request.ByteSizeLong() == 0,
                    response.set_cluster_name("c"),
                    response.cluster_name() == "c")
SLUICE_CONTROL_TEST(GetMetadata, request.set_page_token("p"),
                    request.page_token() == "p", response.set_cluster_id("i"),
                    response.cluster_id() == "i")
SLUICE_CONTROL_TEST(DescribeQuorum, (void)request, request.ByteSizeLong() == 0,
                    response.set_leader_id(3), response.leader_id() == 3)
SLUICE_CONTROL_TEST(CreateTopics, request.add_topics()->set_name("t"),
                    request.topics(0).name() == "t",
                    response.set_metadata_offset(7),
                    response.metadata_offset() == 7)
SLUICE_CONTROL_TEST(CreatePartitions, request.add_topics()->set_total_count(9),
                    request.topics(0).total_count() == 9,
                    response.add_results()->set_partition_count(9),
                    response.results(0).partition_count() == 9)
SLUICE_CONTROL_TEST(DeleteTopics, request.set_validate_only(true),
                    request.validate_only(), response.set_metadata_offset(8),
                    response.metadata_offset() == 8)
SLUICE_CONTROL_TEST(ListTopics, request.set_page_size(5),
                    request.page_size() == 5,
                    response.set_next_page_token("n"),
                    response.next_page_token() == "n")
SLUICE_CONTROL_TEST(DescribeTopics, request.set_include_log(true),
                    request.include_log(),
                    response.add_topics()->mutable_metadata()->set_name("t"),
                    response.topics(0).metadata().name() == "t")
SLUICE_CONTROL_TEST(DescribeConfigs,
                    request.add_resources()->add_names("k"),
                    request.resources(0).names(0) == "k",
                    response.add_results()->add_configs()->set_name("k"),
                    response.results(0).configs(0).name() == "k")
SLUICE_CONTROL_TEST(AlterConfigs, request.set_validate_only(true),
                    request.validate_only(), response.set_metadata_offset(9),
                    response.metadata_offset() == 9)
SLUICE_CONTROL_TEST(InitProducerId, request.set_producer_id(77),
                    request.producer_id() == 77, response.set_producer_epoch(6),
                    response.producer_epoch() == 6)
#undef SLUICE_CONTROL_TEST

TEST_F(PublicEdgeTest, NotLeaderComesInTheBodyWithTheLeader) {
  const api::LeaderHint leader{NodeId(3), LeaderEpoch(12), {"10.0.0.3", 9001}};
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    api::ProduceResponse response;
    response.results.emplace_back();
    response.results[0].error =
        api::ItemError(ErrorCode::kNotLeader, "led by broker 3");
    response.results[0].leader = leader;
    done(absl::OkStatus(), std::move(response));
  };

  const auto response = Produce(OneBatch("b"));

  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->results[0].error.code, ErrorCode::kNotLeader);
  EXPECT_EQ(response->results[0].leader, leader);
}

TEST_F(PublicEdgeTest, AWholeRequestFailureIsARichStatus) {
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    absl::Status status = MakeError(ErrorCode::kInvalidRequiredAcks, "acks 9");
    rpc::SetFact(status, "acks", "9");
    done(status, {});
  };

  const absl::Status status = Produce(OneBatch("b")).status();

  EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequiredAcks);
  EXPECT_EQ(rpc::FactsOf(status).at("acks"), "9");
}

TEST_F(PublicEdgeTest, ARequestAboveSixteenMebibytesIsNamedTooLarge) {
  broker_.on_produce = [](const api::CallContext&, api::ProduceRequest,
                          FakeBroker::ProduceDone) {
    ADD_FAILURE() << "it must not reach the broker";
  };

  const absl::Status ours =
      Produce(OneBatch(std::string((16 << 20) + 1, 'x'))).status();
  EXPECT_EQ(CodeOf(ours), ErrorCode::kRequestTooLarge) << ours;
  EXPECT_EQ(rpc::FactsOf(ours).at("limit"), "16777216");

  const absl::Status of_grpc =
      Produce(OneBatch(std::string(18 << 20, 'x'))).status();
  EXPECT_EQ(CodeOf(of_grpc), ErrorCode::kRequestTooLarge) << of_grpc;
}

TEST_F(PublicEdgeTest, ARequestOfSixteenMebibytesPasses) {
  broker_.on_produce = [](const api::CallContext&, api::ProduceRequest,
                          FakeBroker::ProduceDone done) {
    done(absl::OkStatus(), {});
  };
  EXPECT_TRUE(Produce(OneBatch(std::string((16 << 20) - 100, 'x'))).ok());
}

// Unary calls and streams: each by its own name.
TEST_F(PublicEdgeTest, BytesThatAreNoMessageAreAnInvalidRequest) {
  // The one stream that is open before its first message.
  consumers_.on_consume = Serving(
      std::make_shared<ServedStream<v1::ConsumeRequest, ConsumePush, int>>());
  for (const rpc::PublicMethod& row : rpc::kPublicMethods) {
    const absl::Status status =
        CallWithBytes(std::string(row.path), "\xff\xff\xff garbage");
    EXPECT_EQ(CodeOf(status), ErrorCode::kInvalidRequest) << row.path;
    EXPECT_NE(StdView(status.message()).find(row.path), std::string_view::npos)
        << status;
  }
}

TEST_F(PublicEdgeTest, AMethodThatDoesNotExistIsUnsupported) {
  EXPECT_EQ(CodeOf(CallWithBytes("/sluice.v1.LogService/Compact", "x")),
            ErrorCode::kUnsupportedVersion);
}

TEST_F(PublicEdgeTest, AClientThatGoesAwayCancelsItsFetch) {
  Awaited<bool> arrived;
  Awaited<bool> cancelled;
  FakeBroker::FetchDone held;
  broker_.on_fetch = [&](const api::CallContext&, api::FetchRequest,
                         FakeBroker::FetchDone done) -> CancelCall {
    held = std::move(done);
    arrived.Set(true);
    return [&] { cancelled.Set(true); };
  };
  Awaited<absl::StatusOr<api::FetchResponse>> result;
  peer_->Fetch({}, kPatientUs, [&](auto r) { result.Set(std::move(r)); });
  arrived.Get();

  peer_.reset();

  EXPECT_EQ(result.Get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(cancelled.Get());
  held(absl::OkStatus(), {});  // late: harmless
}

TEST_F(PublicEdgeTest, ADeadlineThatPassesCancelsTheFetchToo) {
  Awaited<bool> cancelled;
  FakeBroker::FetchDone held;
  broker_.on_fetch = [&](const api::CallContext&, api::FetchRequest,
                         FakeBroker::FetchDone done) -> CancelCall {
    held = std::move(done);
    return [&] { cancelled.Set(true); };
  };

  Awaited<absl::StatusOr<api::FetchResponse>> result;
  peer_->Fetch({}, /*timeout_us=*/50'000,
               [&](auto r) { result.Set(std::move(r)); });

  EXPECT_EQ(result.Get().status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(cancelled.Get());
}

TEST_F(PublicEdgeTest, ACallThatTheBrokerDropsIsFailedAndNotLeftHanging) {
  broker_.on_produce = [](const api::CallContext&, api::ProduceRequest,
                          FakeBroker::ProduceDone) {};
  EXPECT_EQ(CodeOf(Produce(OneBatch("b")).status()), ErrorCode::kShuttingDown);

  broker_.on_ListTopics = [](const api::CallContext&, v1::ListTopicsRequest,
                             PeerReply<v1::ListTopicsResponse>) {};
  Awaited<absl::StatusOr<v1::ListTopicsResponse>> result;
  peer_->ListTopics({}, kPatientUs, [&](auto r) { result.Set(std::move(r)); });
  EXPECT_EQ(CodeOf(result.Get().status()), ErrorCode::kShuttingDown);
}

TEST_F(PublicEdgeTest, TwoHundredCallsAtOnceAreEachAnsweredOnce) {
  // Answered from other threads, in another order.
  ThreadExecutor even("even");
  ThreadExecutor odd("odd");
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest request,
                           FakeBroker::ProduceDone done) {
    const int number = request.timeout_ms;
    Executor& executor = number % 2 == 0 ? even : odd;
    executor.Post([number, done = std::move(done)]() mutable {
      api::ProduceResponse response;
      response.throttle_ms = number;
      done(absl::OkStatus(), std::move(response));
    });
  };
  constexpr int kCalls = 200;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int> answers(kCalls, 0);
  int answered = 0;
  for (int i = 0; i < kCalls; ++i) {
    api::ProduceRequest request = OneBatch(std::string(10'000, 'c'));
    request.timeout_ms = i;
    peer_->Produce(std::move(request), kPatientUs, [&, i](auto reply) {
      std::lock_guard lock(mutex);
      EXPECT_TRUE(reply.ok()) << reply.status();
      if (reply.ok()) {
        EXPECT_EQ(reply->throttle_ms, i);
      }
      ++answers[i];
      ++answered;
      changed.notify_all();
    });
  }
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return answered == kCalls; });
  EXPECT_EQ(answers, std::vector<int>(kCalls, 1));
}

class CrowdedEdgeTest : public PublicEdgeTest {
 protected:
  CrowdedEdgeTest() : PublicEdgeTest({.calls_per_connection_max = 2}) {}
};

TEST_F(CrowdedEdgeTest, ACallTooManyIsBusyByName) {
  std::mutex mutex;
  std::vector<FakeBroker::ProduceDone> held;
  Awaited<bool> two;
  broker_.on_produce = [&](const api::CallContext&, api::ProduceRequest,
                           FakeBroker::ProduceDone done) {
    std::lock_guard lock(mutex);
    held.push_back(std::move(done));
    if (held.size() == 2) two.Set(true);
  };
  Awaited<absl::StatusOr<api::ProduceResponse>> replies[2];
  for (auto& reply : replies) {
    peer_->Produce(OneBatch("b"), kPatientUs,
                   [&reply](auto r) { reply.Set(std::move(r)); });
  }
  two.Get();

  EXPECT_EQ(CodeOf(Produce(OneBatch("b")).status()), ErrorCode::kBusy);

  std::lock_guard lock(mutex);
  for (auto& done : held) done(absl::OkStatus(), {});
  EXPECT_TRUE(replies[0].Get().ok());
  EXPECT_TRUE(replies[1].Get().ok());
}

class HastyEdgeTest : public PublicEdgeTest {
 protected:
  // Over at the first sweep.
  HastyEdgeTest() : PublicEdgeTest({.deadline_default_us = 0}) {}
};

TEST_F(HastyEdgeTest, ACallWithoutADeadlineIsEndedByTheDefaultOne) {
  FakeBroker::FetchDone held;
  Awaited<bool> cancelled;
  broker_.on_fetch = [&](const api::CallContext&, api::FetchRequest,
                         FakeBroker::FetchDone done) -> CancelCall {
    held = std::move(done);
    return [&] { cancelled.Set(true); };
  };
  const auto stub = v1::LogService::NewStub(channel_);
  grpc::ClientContext context;
  v1::FetchRequest request;
  v1::FetchResponse response;
  Awaited<absl::Status> status;
  stub->async()->Fetch(&context, &request, &response,
                       [&](const grpc::Status& s) {
                         status.Set(rpc::FromGrpcStatus(s));
                       });

  EXPECT_EQ(CodeOf(status.Get()), ErrorCode::kRequestTimedOut);
  EXPECT_TRUE(cancelled.Get());
}

}  // namespace
}  // namespace sluice
