// The data calls of the fake cluster.
#include <algorithm>

#include "client/fake_cluster_testing.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "storage/time_search.h"

namespace sluice {

void FakeCluster::MakeAgain(const std::string& name) {
  AddTopic(name, static_cast<int>(topics_.at(name).partitions.size()));
}

std::optional<std::string> FakeCluster::NameOf(TopicId id) const {
  for (const auto& [name, topic] : topics_) {
    if (topic.id == id) return name;
  }
  return std::nullopt;
}

TopicId FakeCluster::IdOf(const std::string& name) const {
  const auto found = topics_.find(name);
  return found == topics_.end() ? TopicId() : found->second.id;
}

FakeCluster::Partition* FakeCluster::Check(
    NodeId at, const api::TopicRef& topic, PartitionIndex partition,
    const std::optional<LeaderEpoch>& epoch, api::ItemError& error,
    std::optional<api::LeaderHint>& hint) {
  const auto found = topics_.find(topic.name);
  if (found == topics_.end() ||
      partition.value() >= static_cast<int>(found->second.partitions.size())) {
    error = {ErrorCode::kUnknownTopicOrPartition, "no such topic"};
    return nullptr;
  }
  if (topic.by_id() && topic.id != found->second.id) {
    error = {ErrorCode::kUnknownTopicId, "no topic has this id"};
    return nullptr;
  }
  Partition& state = found->second.partitions[partition.value()];
  if (state.leader != at) {
    error = {ErrorCode::kNotLeader, "led elsewhere"};
    if (hints && state.leader != kNoNode) {
      hint =
          api::LeaderHint{state.leader, state.epoch, EndpointOf(state.leader)};
    }
    return nullptr;
  }
  if (epoch.has_value() && *epoch != state.epoch) {
    error = {*epoch < state.epoch ? ErrorCode::kFencedLeaderEpoch
                                  : ErrorCode::kUnknownLeaderEpoch,
             "another epoch"};
    return nullptr;
  }
  return &state;
}

api::ProduceResponse FakeCluster::Produce(NodeId at,
                                          api::ProduceRequest request) {
  api::ProduceResponse response;
  produce_acks.push_back(request.acks);
  max_partitions_per_request = std::max(
      max_partitions_per_request, static_cast<int>(request.partitions.size()));
  std::optional<ErrorCode> ordered;
  if (!produce_errors.empty()) {
    ordered = produce_errors.front();
    produce_errors.erase(produce_errors.begin());
  }
  for (api::ProducePartition& part : request.partitions) {
    if (ordered.has_value()) {
      api::ProduceResult& result = response.results.emplace_back();
      result.topic = part.topic;
      result.partition = *part.partition;
      result.error = {*ordered, "as ordered"};
    } else {
      response.results.push_back(ProduceOne(at, part));
    }
  }
  return response;
}

api::ProduceResult FakeCluster::ProduceOne(NodeId at,
                                           api::ProducePartition& part) {
  api::ProduceResult result;
  result.topic = part.topic;
  result.partition = *part.partition;
  Partition* state = Check(at, part.topic, *part.partition, part.leader_epoch,
                           result.error, result.leader);
  if (state == nullptr) return result;
  Append(*state, std::move(std::get<MutableBuffer>(part.payload)), result);
  return result;
}

void FakeCluster::Append(Partition& state, MutableBuffer bytes,
                         api::ProduceResult& result) {
  int batches = 0;
  std::optional<BatchHeader> first;
  BatchCursor cursor(bytes.view());
  for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
       batch = cursor.Next()) {
    INVARIANT((*batch)->CrcMatches(), "a batch was damaged");
    if (!first.has_value()) first = (*batch)->header();
    ++batches;
    if ((*batch)->header().size_bytes() > batch_bytes_max) {
      result.error = {ErrorCode::kMessageTooLarge, "larger than its topic"};
      return;
    }
  }
  max_payload_batches = std::max(max_payload_batches, batches);
  INVARIANT(first->producer_id == ProducerId(-1) || batches == 1,
            "more than one numbered batch in a payload");
  const FakeProducers::Verdict verdict = state.producers.Judge(*first);
  if (verdict.error != ErrorCode::kNone) {
    result.error = {verdict.error, "by its sequence"};
    return;
  }
  if (verdict.duplicate.has_value()) {
    result.base_offset = *verdict.duplicate;
    result.duplicate = true;
    return;
  }
  if (disk_full) {
    result.error = {ErrorCode::kStorageFull, "no room"};
    return;
  }
  const auto next = AssignOffsets(bytes, state.end, state.epoch);
  INVARIANT(next.ok(), next.status().ToString());
  result.base_offset = state.end;
  state.producers.OnStored(*first, state.end);
  state.end = *next;
  state.batches.push_back(std::move(bytes).Publish());
}

void FakeCluster::CutLog(const std::string& topic, int partition, Offset end) {
  Partition& state = topics_.at(topic).partitions[partition];
  std::erase_if(state.batches, [&](const Buffer& batch) {
    return BatchView::Parse(batch.view())->header().base_offset >= end;
  });
  state.end = end;
  state.epoch = state.epoch + 1;
}

namespace {

// As broker/partition_requests.cc does it.
std::optional<EpochEnd> DivergenceOf(const FakeCluster::Partition& state,
                                     const api::FetchPartition& part) {
  if (!part.last_fetched_epoch.has_value() || part.offset <= state.start) {
    return std::nullopt;
  }
  EpochHistory epochs;
  for (const Buffer& stored : state.batches) {
    const BatchHeader& header = BatchView::Parse(stored.view())->header();
    epochs.Assign(header.leader_epoch, header.base_offset);
  }
  epochs.Assign(state.epoch, state.end);
  const EpochEnd end = epochs.EndOf(*part.last_fetched_epoch, state.end);
  if (end.epoch == *part.last_fetched_epoch && end.end >= part.offset) {
    return std::nullopt;
  }
  return end;
}

}  // namespace

api::FetchResult FakeCluster::FetchOne(NodeId at,
                                       const api::FetchPartition& part) {
  api::FetchResult result;
  result.topic = part.topic;
  result.partition = part.partition;
  Partition* state = Check(at, part.topic, part.partition, part.leader_epoch,
                           result.error, result.leader);
  if (state == nullptr) return result;
  result.high_watermark = state->end;
  result.next_offset = part.offset;
  result.log_start_offset = state->start;
  result.diverging = DivergenceOf(*state, part);
  if (result.diverging.has_value()) {
    result.error = {ErrorCode::kLogTruncated, "another history"};
    return result;
  }
  if (part.offset < state->start || part.offset > state->end) {
    result.error = {ErrorCode::kOffsetOutOfRange, "not in the log"};
    return result;
  }
  int64_t bytes = 0;
  for (const Buffer& stored : state->batches) {
    BatchCursor cursor(stored.view());
    for (auto batch = cursor.Next(); batch.ok() && batch->has_value();
         batch = cursor.Next()) {
      if ((*batch)->header().next_offset() <= part.offset) continue;
      if (bytes > 0 && bytes >= part.max_bytes) return result;
      result.batches.push_back(Buffer::CopyOf((*batch)->bytes()));
      result.next_offset = (*batch)->header().next_offset();
      bytes += static_cast<int64_t>((*batch)->bytes().size());
    }
  }
  return result;
}

api::FetchResponse FakeCluster::Fetch(NodeId at,
                                      const api::FetchRequest& request) {
  api::FetchResponse response;
  for (const auto& part : request.partitions) {
    std::optional<api::FetchResult> near;
    if (!request.rack.empty()) near = FetchNear(at, part);
    response.results.push_back(near.has_value() ? *std::move(near)
                                                : FetchOne(at, part));
  }
  return response;
}

std::optional<api::FetchResult> FakeCluster::FetchNear(
    NodeId at, const api::FetchPartition& part) {
  const auto topic = topics_.find(part.topic.name);
  if (topic == topics_.end()) return std::nullopt;
  const Partition& state = topic->second.partitions[part.partition.value()];
  if (state.near == kNoNode || (at != state.leader && at != state.near)) {
    return std::nullopt;
  }
  api::FetchResult result;
  result.topic = part.topic;
  result.partition = part.partition;
  result.next_offset = part.offset;
  result.high_watermark = std::min(state.end, state.near_high_watermark);
  if (at == state.leader) {
    result.high_watermark = state.end;
    result.preferred_replica = state.near;
    result.preferred_endpoint = EndpointOf(state.near);
    return result;
  }
  ++calls["FetchNear"];
  const Offset limit = result.high_watermark;
  if (state.near_error != ErrorCode::kNone) {
    result.error = {state.near_error, "as ordered"};
  } else if (part.leader_epoch != state.epoch) {
    result.error = {ErrorCode::kFencedLeaderEpoch, "another epoch"};
  } else if (part.offset > limit) {
    result.error = {ErrorCode::kOffsetNotAvailable, "not here yet"};
  } else {
    result = FetchOne(state.leader, part);
    while (!result.batches.empty() && result.next_offset > limit) {
      const auto last = BatchView::Parse(result.batches.back().view());
      result.next_offset =
          std::max(last->header().base_offset, part.offset);
      result.batches.pop_back();
    }
    result.high_watermark = limit;
    result.log_start_offset = kNoOffset;
  }
  return result;
}

api::ListOffsetsResponse FakeCluster::ListOffsets(
    NodeId at, const api::ListOffsetsRequest& request) {
  api::ListOffsetsResponse response;
  for (const auto& part : request.partitions) {
    api::ListOffsetsResult& result = response.results.emplace_back();
    result.topic = part.topic;
    result.partition = part.partition;
    const Partition* state =
        Check(at, part.topic, part.partition, part.leader_epoch, result.error,
              result.leader);
    if (state == nullptr) continue;
    if (part.position == api::OffsetPosition::kTimestamp) {
      TimeSearch search = TimeSearch::FirstAt(part.timestamp_ms, state->start);
      for (const Buffer& batch : state->batches) {
        const auto found = search.Look(batch);
        INVARIANT(found.ok(), found.status().ToString());
        if (*found) break;
      }
      const auto record = search.Found();
      if (record.ok() && record->has_value()) {
        result.offset = (*record)->offset;
        result.timestamp_ms = (*record)->timestamp_ms;
      }
      continue;
    }
    result.offset = part.position == api::OffsetPosition::kEarliest
                        ? state->start
                        : state->end;
  }
  return response;
}

api::DeleteRecordsResponse FakeCluster::DeleteRecords(
    NodeId at, const api::DeleteRecordsRequest& request) {
  api::DeleteRecordsResponse response;
  for (const auto& part : request.partitions) {
    api::DeleteRecordsResult& result = response.results.emplace_back();
    result.topic = part.topic;
    result.partition = part.partition;
    Partition* state = Check(at, part.topic, part.partition, part.leader_epoch,
                             result.error, result.leader);
    if (state == nullptr) continue;
    const Offset before =
        part.before_offset == kNoOffset ? state->end : part.before_offset;
    if (before > state->end) {
      result.error = {ErrorCode::kOffsetOutOfRange, "past the end"};
    } else if (!request.validate_only) {
      state->start = std::max(state->start, before);
    }
    result.log_start_offset = std::max(state->start, before);
    result.high_watermark = state->end;
  }
  return response;
}

}  // namespace sluice
