// What a client or an operator would see and do, through the brokers' own API.
#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "test/sim/sim_cluster.h"

namespace sluice::sim {

int SimCluster::AnyBroker() {
  for (auto& [id, node] : nodes_) {
    if (node->broker != nullptr && !node->life->hung) return id.value();
  }
  return 0;
}

api::CallContext SimCluster::ContextAt(int id) {
  api::CallContext context;
  context.client_id = "sim";
  context.listener = kPublicListener;
  context.deadline_us = at(id).host.MonoMicros() + 30'000'000;
  return context;
}

std::string SimCluster::Health() {
  const int any = AnyBroker();
  if (any == 0) return "no broker is up";
  for (auto& [id, node] : nodes_) {
    if (!node->fatal.empty()) {
      return StrCat("node ", id, ": ", node->fatal.front().ToString());
    }
    if (node->broker != nullptr && !node->serving) {
      return StrCat("node ", id, " does not serve");
    }
  }
  std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
  at(any).broker->DescribeCluster(
      ContextAt(any), {}, [&](auto response) { answer = std::move(response); });
  RunUntil([&] { return answer.has_value(); }, 1000);
  if (!answer.has_value()) return "DescribeCluster is not answered";
  if (!answer->ok()) return answer->status().ToString();
  for (const auto& issue : (*answer)->issues()) {
    return StrCat("issue: ", issue.message());
  }
  return "";
}

int SimCluster::ActiveController() {
  const int any = AnyBroker();
  if (any == 0) return 0;
  std::optional<absl::StatusOr<v1::DescribeClusterResponse>> answer;
  at(any).broker->DescribeCluster(
      ContextAt(any), {}, [&](auto response) { answer = std::move(response); });
  RunUntil([&] { return answer.has_value(); }, 1000);
  if (!answer.has_value() || !answer->ok()) return 0;
  const int active = (*answer)->active_controller_id();
  return active > 0 && up(active) ? active : 0;
}

bool SimCluster::AwaitHealthy(int64_t limit_ms) {
  const int64_t end_us = world_.MonoMicros() + limit_ms * 1000;
  while (world_.MonoMicros() < end_us) {
    if (Health().empty()) return true;
    RunFor(20);
  }
  return false;
}

absl::Status SimCluster::CreateTopic(
    const std::string& name, int partitions, int replicas,
    std::map<std::string, std::string> configs) {
  v1::CreateTopicsRequest request;
  auto* topic = request.add_topics();
  topic->set_name(name);
  topic->set_partition_count(partitions);
  topic->set_replication_factor(replicas);
  for (const auto& [key, value] : configs) {
    (*topic->mutable_configs())[key] = value;
  }
  std::optional<absl::StatusOr<v1::CreateTopicsResponse>> answer;
  const int any = AnyBroker();
  at(any).broker->CreateTopics(
      ContextAt(any), request,
      [&](auto response) { answer = std::move(response); });
  if (!RunUntil([&] { return answer.has_value(); }, 40'000)) {
    return MakeError(ErrorCode::kRequestTimedOut, "never answered");
  }
  if (!answer->ok()) return answer->status();
  const auto& error = (**answer).results(0).error();
  if (error.code() == 0) return absl::OkStatus();
  return MakeErrorStatus(
      CodeFromNumber(static_cast<int32_t>(error.code())), error.message());
}

std::optional<v1::TopicMetadata> SimCluster::Topic(const std::string& name) {
  const int any = AnyBroker();
  if (any == 0) return std::nullopt;
  v1::GetMetadataRequest request;
  request.add_topics()->set_name(name);
  // Shared: a broker that hangs answers when nobody waits any more.
  auto answer = std::make_shared<
      std::optional<absl::StatusOr<v1::GetMetadataResponse>>>();
  at(any).broker->GetMetadata(ContextAt(any), request, [answer](auto response) {
    *answer = std::move(response);
  });
  RunUntil([&] { return answer->has_value(); }, 1000);
  if (!answer->has_value() || !(*answer)->ok()) return std::nullopt;
  return (**answer)->topics(0);
}

TopicId SimCluster::TopicIdOf(const std::string& topic) {
  const auto found = Topic(topic);
  INVARIANT(found.has_value(), "no topic ", topic);
  return TopicId::FromBytes(found->id()).value_or(TopicId());
}

std::optional<v1::PartitionMetadata> SimCluster::Partition(
    const std::string& topic, int partition) {
  const auto found = Topic(topic);
  if (!found.has_value()) return std::nullopt;
  for (const auto& metadata : found->partitions()) {
    if (metadata.partition() == partition) return metadata;
  }
  return std::nullopt;
}

int SimCluster::LeaderOf(const std::string& topic, int partition) {
  const auto found = Partition(topic, partition);
  return found.has_value() ? std::max(0, found->leader_id()) : 0;
}

absl::StatusOr<Offset> SimCluster::Produce(const std::string& topic,
                                           int partition,
                                           const std::string& value,
                                           int acks) {
  const int leader = LeaderOf(topic, partition);
  if (leader == 0 || !up(leader) || at(leader).broker == nullptr) {
    return MakeError(ErrorCode::kLeaderNotAvailable, "no leader");
  }
  api::ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 5000;
  auto& part = request.partitions.emplace_back();
  part.topic.name = topic;
  part.partition = PartitionIndex(partition);
  api::Record record;
  record.value = value;
  part.payload = std::vector<api::Record>{record};
  // Shared: the broker may be killed before it answers.
  auto answer = std::make_shared<
      std::optional<std::pair<absl::Status, api::ProduceResponse>>>();
  at(leader).broker->Produce(
      ContextAt(leader), std::move(request), [] {},
      [answer](absl::Status status, api::ProduceResponse response) {
        *answer = {std::move(status), std::move(response)};
      });
  if (!RunUntil([&] { return answer->has_value(); }, 7000)) {
    return MakeError(ErrorCode::kRequestTimedOut, "never answered");
  }
  if (!(*answer)->first.ok()) return (*answer)->first;
  const api::ProduceResult& result = (*answer)->second.results.at(0);
  if (!result.error.ok()) {
    return MakeErrorStatus(result.error.code, result.error.message);
  }
  return result.base_offset;
}

absl::StatusOr<Offset> SimCluster::ProduceHard(const std::string& topic,
                                               int partition,
                                               const std::string& value,
                                               int64_t limit_ms) {
  const int64_t end_us = world_.MonoMicros() + limit_ms * 1000;
  while (true) {
    auto offset = Produce(topic, partition, value);
    if (offset.ok() || world_.MonoMicros() > end_us) return offset;
    RunFor(20);
  }
}

std::vector<std::string> SimCluster::ReadAll(const std::string& topic,
                                             int partition) {
  std::vector<std::string> values;
  Offset next{0};
  for (int tries = 0; tries < 1000; ++tries) {
    const int leader = LeaderOf(topic, partition);
    if (leader == 0 || !up(leader)) {
      RunFor(20);
      continue;
    }
    api::FetchRequest request;
    request.max_wait_ms = 10;
    auto& part = request.partitions.emplace_back();
    part.topic.name = topic;
    part.partition = PartitionIndex(partition);
    part.offset = next;
    auto answer = std::make_shared<
        std::optional<std::pair<absl::Status, api::FetchResponse>>>();
    at(leader).broker->Fetch(
        ContextAt(leader), std::move(request),
        [answer](absl::Status status, api::FetchResponse response) {
          *answer = {std::move(status), std::move(response)};
        });
    RunUntil([&] { return answer->has_value(); }, 1000);
    if (!answer->has_value() || !(*answer)->first.ok()) continue;
    const api::FetchResult& result = (*answer)->second.results.at(0);
    if (!result.error.ok()) {
      RunFor(20);
      continue;
    }
    for (const api::Record& record : result.records) {
      values.push_back(record.value.value_or(""));
    }
    next = std::max(next, result.next_offset);
    if (next >= result.high_watermark) return values;
  }
  return values;
}

}  // namespace sluice::sim
