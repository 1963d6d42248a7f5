// correctness.md 3.3: a replica that FAILED, and the operator's way out of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "client/admin.h"
#include "common/base/error.h"
#include "test/scenario/scenario.h"
#include "test/sim/sim_client.h"

namespace sluice::scenario {
namespace {

// Marks are on the disk by then: what is found below them is no torn end.
constexpr int64_t kMarksMs = 2'000;
constexpr int64_t kCallUs = 10'000'000;

// By the client library's admin calls.
class Operator {
 public:
  explicit Operator(Scenario* s) : s_(*s), client_(&s->sim()) {}

  // Whether `sluice cluster health` names this replica as FAILED.
  bool IsNamedFailed(const Tp& t, int broker) {
    std::optional<absl::StatusOr<v1::DescribeClusterResponse>> told;
    client_.admin().DescribeCluster(
        kCallUs, [&told](absl::StatusOr<v1::DescribeClusterResponse> answer) {
          told.emplace(std::move(answer));
        });
    s_.Until("health is told", [&] { return told.has_value(); });
    s_.Expect(told->ok(), "it is told by a broker that lives");
    const auto& issues = (*told)->issues();
    return std::any_of(issues.begin(), issues.end(), [&](const auto& issue) {
      return issue.kind() == v1::HealthIssue::KIND_REPLICA_FAILED &&
             issue.topic() == t.topic && issue.partition() == t.partition &&
             issue.broker_id() == broker;
    });
  }

  void UntilNamedFailed(const Tp& t, int broker, bool named) {
    for (int i = 0; i < kLooksMax; ++i) {
      if (IsNamedFailed(t, broker) == named) return;
      s_.RunFor(kLookEveryMs);
    }
    s_.Expect(false, named ? "health names the replica"
                           : "health names the replica no more");
  }

  ErrorCode Reset(const Tp& t, int broker, bool without_leader) {
    v1::ResetReplicaRequest request;
    request.mutable_topic()->set_name(t.topic);
    request.set_partition(t.partition);
    request.set_broker_id(broker);
    request.set_without_leader(without_leader);
    std::optional<absl::StatusOr<v1::ResetReplicaResponse>> told;
    client_.admin().ResetReplica(
        request, kCallUs,
        [&told](absl::StatusOr<v1::ResetReplicaResponse> answer) {
          told.emplace(std::move(answer));
        });
    s_.Until("the reset is answered", [&] { return told.has_value(); });
    if (!told->ok()) return CodeOf(told->status());
    return CodeFromNumber((*told)->error().code());
  }

 private:
  static constexpr int kLooksMax = 100;
  static constexpr int64_t kLookEveryMs = 200;

  Scenario& s_;
  sim::SimClient client_;
};

bool IsSetAside(Scenario& s, int node) {
  const auto files = s.sim().LogFiles(node);
  return std::any_of(files.begin(), files.end(), [](const auto& file) {
    return file.find(".stray-") != std::string::npos;
  });
}

// Recovery finds a flipped bit and nobody leads -> health names the replica,
// nothing is touched without an order. The order lets it begin empty, which
// gives up nothing while others may come back: one of those leads, and the
// replica is filled from it.
TEST(ResetScenarios, F50AFailedReplicaThatIsResetIsFilledFromWhoComesBack) {
  Scenario s({.tail_cache_bytes = 1});
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  for (const char* value : {"m1", "m2", "m3"}) s.Produce(t, value);
  s.RunFor(kMarksMs);
  s.Kill(C);
  s.UntilIsr(t, {A, B});
  s.Kill(B);
  s.UntilIsr(t, {A});
  s.PowerCut(A);
  s.FlipBit(A, t, 1);
  s.Boot(A);
  Operator person(&s);
  person.UntilNamedFailed(t, A, true);
  s.Expect(s.Committed(t).leader == kNoNode && !IsSetAside(s, A),
           "the evidence is kept, and does not lead");
  s.Expect(person.Reset(t, A, false) == ErrorCode::kLeaderNotAvailable,
           "nobody could fill it");
  s.Expect(person.Reset(t, A, true) == ErrorCode::kNone, "it begins empty");
  s.Expect(IsSetAside(s, A), "its files are kept beside it");
  s.Throughout(3'000, "an empty log does not lead while a full one may come back",
               [&] { return s.Committed(t).leader == kNoNode; });
  s.Boot(B);
  s.UntilLeader(t, B);
  s.Boot(C);
  s.UntilIsr(t, {A, B, C});
  for (const int broker : {A, B, C}) s.UntilLog(broker, t, {"m1", "m2", "m3"});
  person.UntilNamedFailed(t, A, false);
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

}  // namespace
}  // namespace sluice::scenario
