#include "common/rpc/gate.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {
namespace {

class FakeClock final : public Clock {
 public:
  int64_t MonoMicros() const override { return now_us; }
  int64_t WallMillis() const override { return 0; }
  int64_t now_us = 1'000'000;
};

struct FakeCall final : Endable {
  void EndCall(const absl::Status& why) override { ended.push_back(why); }
  std::vector<absl::Status> ended;
};

class GateTest : public ::testing::Test {
 protected:
  std::shared_ptr<Gate> Make(GateLimits limits = {}) {
    return std::make_shared<Gate>(&clock_, "PUBLIC", limits);
  }
  // From a context without a call: no peer, no deadline.
  static absl::StatusOr<std::unique_ptr<Gate::Pass>> Admit(
      Gate& gate, Method method, std::shared_ptr<Endable> call = nullptr,
      int64_t bytes = 10) {
    grpc::CallbackServerContext context;
    return gate.Admit(method, context, bytes, call);
  }

  FakeClock clock_;
};

TEST_F(GateTest, EveryRowNamesOneCall) {
  std::set<std::string_view> paths;
  for (const PublicMethod& row : kPublicMethods) {
    EXPECT_TRUE(paths.insert(row.path).second) << row.path;
    EXPECT_TRUE(row.path.starts_with("/sluice.v1.")) << row.path;
  }
  EXPECT_EQ(RowOf(Method::kDescribeTopics).path,
            "/sluice.v1.TopicService/DescribeTopics");
}

TEST_F(GateTest, ARequestAboveTheLimitIsNamedWithItsFacts) {
  auto gate = Make({.request_bytes_max = 100});

  EXPECT_TRUE(Admit(*gate, Method::kProduce, nullptr, 100).ok());
  const auto refused = Admit(*gate, Method::kProduce, nullptr, 101);

  EXPECT_EQ(CodeOf(refused.status()), ErrorCode::kRequestTooLarge);
  EXPECT_EQ(FactsOf(refused.status()).at("bytes"), "101");
  EXPECT_EQ(FactsOf(refused.status()).at("limit"), "100");
  EXPECT_EQ(CodeOf(gate->AdmitMessage(Method::kSubscribe, 101)),
            ErrorCode::kRequestTooLarge);
  EXPECT_EQ(gate->CountsOf(Method::kProduce).refused, 1);
}

TEST_F(GateTest, AConnectionHasABoundOfCallsAndOneOfStreams) {
  auto gate = Make({.calls_per_connection_max = 2,
                    .streams_per_connection_max = 1});
  auto first = Admit(*gate, Method::kFetch);
  auto second = Admit(*gate, Method::kProduce);
  auto stream = Admit(*gate, Method::kSubscribe);
  ASSERT_TRUE(first.ok() && second.ok() && stream.ok());

  EXPECT_EQ(CodeOf(Admit(*gate, Method::kFetch).status()), ErrorCode::kBusy);
  EXPECT_EQ(CodeOf(Admit(*gate, Method::kSubscribe).status()),
            ErrorCode::kBusy);

  first->reset();
  EXPECT_TRUE(Admit(*gate, Method::kFetch).ok());
  stream->reset();
  EXPECT_TRUE(Admit(*gate, Method::kSubscribe).ok());
}

TEST_F(GateTest, AListenerHasABoundOfCalls) {
  auto gate = Make({.calls_max = 2});
  auto first = Admit(*gate, Method::kFetch);
  auto second = Admit(*gate, Method::kSubscribe);

  EXPECT_EQ(CodeOf(Admit(*gate, Method::kListTopics).status()),
            ErrorCode::kBusy);
}

TEST_F(GateTest, ACallWithoutADeadlineGetsThirtySeconds) {
  auto gate = Make();
  auto call = std::make_shared<FakeCall>();
  auto pass = Admit(*gate, Method::kGetMetadata, call);
  ASSERT_TRUE(pass.ok());
  EXPECT_EQ((*pass)->context().deadline_us, clock_.now_us + 30'000'000);

  clock_.now_us += 29'999'999;
  gate->Sweep();
  EXPECT_TRUE(call->ended.empty());

  clock_.now_us += 1;
  gate->Sweep();
  gate->Sweep();
  ASSERT_EQ(call->ended.size(), 1u) << "ended once, though still held";
  EXPECT_EQ(CodeOf(call->ended[0]), ErrorCode::kRequestTimedOut);
}

TEST_F(GateTest, AStreamHasNoDeadline) {
  auto gate = Make();
  auto call = std::make_shared<FakeCall>();
  auto pass = Admit(*gate, Method::kSubscribe, call);

  EXPECT_EQ((*pass)->context().deadline_us, INT64_MAX);
  clock_.now_us += 3600'000'000;
  gate->Sweep();
  EXPECT_TRUE(call->ended.empty());
}

TEST_F(GateTest, AFinishedCallIsNotEnded) {
  auto gate = Make();
  auto call = std::make_shared<FakeCall>();
  auto pass = Admit(*gate, Method::kProduce, call);
  pass->reset();

  clock_.now_us += 60'000'000;
  gate->Sweep();
  gate->Drain(MakeError(ErrorCode::kShuttingDown, "x"));

  EXPECT_TRUE(call->ended.empty());
}

TEST_F(GateTest, DrainEndsWhatWaitsAndRefusesWhatComes) {
  auto gate = Make();
  auto produce = std::make_shared<FakeCall>();
  auto fetch = std::make_shared<FakeCall>();
  auto subscribe = std::make_shared<FakeCall>();
  auto p1 = Admit(*gate, Method::kProduce, produce);
  auto p2 = Admit(*gate, Method::kFetch, fetch);
  auto p3 = Admit(*gate, Method::kSubscribe, subscribe);

  gate->Drain(MakeError(ErrorCode::kShuttingDown, "stopping"));

  EXPECT_TRUE(produce->ended.empty()) << "it may finish";
  ASSERT_EQ(fetch->ended.size(), 1u);
  ASSERT_EQ(subscribe->ended.size(), 1u);
  EXPECT_EQ(CodeOf(fetch->ended[0]), ErrorCode::kShuttingDown);
  EXPECT_EQ(CodeOf(Admit(*gate, Method::kProduce).status()),
            ErrorCode::kShuttingDown);
}

TEST_F(GateTest, IdleConnectionsAreForgottenByTheSecondSweep) {
  auto gate = Make();
  auto pass = Admit(*gate, Method::kFetch);
  gate->Sweep();
  gate->Sweep();
  EXPECT_EQ(gate->connections(), 1u) << "a call is under way";

  pass->reset();
  gate->Sweep();
  EXPECT_EQ(gate->connections(), 1u);
  gate->Sweep();
  EXPECT_EQ(gate->connections(), 0u);
}

TEST_F(GateTest, CountsWhatPassed) {
  auto gate = Make();
  {
    auto pass = Admit(*gate, Method::kProduce, nullptr, 70);
    (*pass)->CountResponse(30);
    EXPECT_EQ(gate->CountsOf(Method::kProduce).under_way, 1);
  }

  const MethodCounts counts = gate->CountsOf(Method::kProduce);
  EXPECT_EQ(counts.calls, 1);
  EXPECT_EQ(counts.refused, 0);
  EXPECT_EQ(counts.under_way, 0);
  EXPECT_EQ(counts.request_bytes, 70);
  EXPECT_EQ(counts.response_bytes, 30);
  EXPECT_EQ(gate->CountsOf(Method::kFetch).calls, 0);
}

TEST_F(GateTest, IsIdleOnceTheLastCallIsOver) {
  auto gate = Make();
  EXPECT_TRUE(gate->AwaitIdle(0));
  auto pass = Admit(*gate, Method::kProduce);
  EXPECT_FALSE(gate->AwaitIdle(0));

  std::thread other([&] { pass->reset(); });
  EXPECT_TRUE(gate->AwaitIdle(600'000));
  other.join();
}

TEST_F(GateTest, APassMayOutliveTheLastHandleOfItsGate) {
  auto gate = Make();
  auto pass = Admit(*gate, Method::kProduce);
  gate.reset();
  pass->reset();
}

TEST(PeerAddressTest, IsWhatPeopleWrite) {
  EXPECT_EQ(PeerAddress("ipv4:127.0.0.1:9001"), "127.0.0.1:9001");
  EXPECT_EQ(PeerAddress("ipv6:%5B::1%5D:9001"), "[::1]:9001");
  EXPECT_EQ(PeerAddress("unix:/tmp/x"), "unix:/tmp/x");
  EXPECT_EQ(PeerAddress("inproc"), "inproc");
  EXPECT_EQ(PeerAddress(""), "");
}

}  // namespace
}  // namespace sluice::rpc
