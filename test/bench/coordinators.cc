#include "test/bench/coordinators.h"

#include <algorithm>
#include <memory>

#include "client/any_broker_call.h"
#include "client/group/group_errors.h"
#include "common/base/status_macros.h"

namespace sluice::bench {
namespace {

constexpr int kKeysMax = 1'000;  // of one call
constexpr int64_t kTimeoutUs = 60'000'000;

using Answer = absl::StatusOr<v1::FindCoordinatorResponse>;

absl::Status FirstError(const v1::FindCoordinatorResponse& answer) {
  for (const v1::CoordinatorResult& result : answer.results()) {
    const absl::Status status = StatusOf(result.error());
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

Answer Ask(BenchClient* client, const v1::FindCoordinatorRequest& request) {
  return client->Await<Answer>([client, request](auto done) {
    std::make_shared<AnyBrokerCall<v1::FindCoordinatorResponse>>(
        client->deps(), client->options(), client->metadata(), kTimeoutUs,
        [client, request](const api::Endpoint& endpoint, int64_t timeout_us,
                          PeerReply<v1::FindCoordinatorResponse> reply) {
          client->connections()->At(endpoint)->FindCoordinator(
              request, timeout_us, std::move(reply));
        },
        [done](Answer answer) { done(std::move(answer)); }, FirstError)
        ->Try();
  });
}

}  // namespace

absl::StatusOr<std::vector<Coordinator>> FindCoordinators(
    BenchClient* client, const std::vector<std::string>& groups) {
  std::vector<Coordinator> found;
  for (size_t at = 0; at < groups.size(); at += kKeysMax) {
    v1::FindCoordinatorRequest request;
    const size_t end = std::min(groups.size(), at + kKeysMax);
    for (size_t i = at; i < end; ++i) request.add_keys(groups[i]);
    ASSIGN_OR_RETURN(const auto answer, Ask(client, request));
    RETURN_IF_ERROR(FirstError(answer));
    for (const v1::CoordinatorResult& result : answer.results()) {
      found.push_back({result.node_id(),
                       {result.endpoint().host(), result.endpoint().port()},
                       result.partition()});
    }
  }
  if (found.size() != groups.size()) {
    return MakeError(ErrorCode::kUnknownServerError, "asked for ",
                     groups.size(), " coordinators, told ", found.size());
  }
  return found;
}

std::vector<std::string> GroupNames(const std::string& prefix, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(StrCat(prefix, i));
  return names;
}

}  // namespace sluice::bench
