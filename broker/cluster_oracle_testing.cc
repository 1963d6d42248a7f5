#include "broker/cluster_oracle_testing.h"

#include <algorithm>
#include <set>
#include <utility>

#include "storage/batch_testing.h"
#include "storage/record_reader.h"

namespace sluice {

std::string DecodeValues(std::string_view batches,
                         std::map<Offset, std::string>& out) {
  BatchCursor cursor(batches);
  for (;;) {
    const auto batch = cursor.Next();
    if (!batch.ok()) return batch.status().ToString();
    if (!batch->has_value()) return "";
    if (!(*batch)->CrcMatches()) return "a CRC does not match";
    auto reader = RecordReader::Open(**batch);
    if (!reader.ok()) return reader.status().ToString();
    for (;;) {
      const auto record = reader->Next();
      if (!record.ok()) return record.status().ToString();
      if (!record->has_value()) break;
      out[(*record)->offset] = std::string(*(*record)->value);
    }
  }
}

std::shared_ptr<SimClient::Sent> SimClient::Produce(const TopicPartition& tp,
                                                    api::Acks acks,
                                                    int64_t timeout_us) {
  auto sent = std::make_shared<Sent>();
  sent->value = StrCat("v", next_value_++);
  sent->acks = acks;
  sent_[tp].push_back(sent);
  const PartitionImage* state = cluster_->image().FindPartition(tp);
  if (state == nullptr || state->leader == kNoNode) return sent;
  AppendRequest request;
  request.tp = tp;
  request.batches = MakeBatch(
      {.value = sent->value,
       .timestamp_ms = cluster_->world().WallMillis()});
  request.acks = acks;
  request.deadline_us = cluster_->world().MonoMicros() + timeout_us;
  cluster_->AtShard(state->leader.value(), tp,
                    [sent, request = std::move(request)](Shard& shard) mutable {
                      shard.Append(std::move(request), [] {},
                                   [sent](AppendOutcome outcome) {
                                     sent->outcome = std::move(outcome);
                                   });
                    });
  return sent;
}

bool SimClient::ProduceOne(const TopicPartition& tp, api::Acks acks,
                           int64_t limit_us) {
  SimWorld& world = cluster_->world();
  const int64_t end_us = world.MonoMicros() + limit_us;
  while (world.MonoMicros() < end_us) {
    const auto sent = Produce(tp, acks);
    world.RunUntil([&] { return sent->outcome.has_value(); }, 1'000'000);
    if (sent->acknowledged()) return true;
    world.RunFor(50'000);
  }
  return false;
}

size_t SimClient::acknowledged(const TopicPartition& tp) const {
  const auto found = sent_.find(tp);
  if (found == sent_.end()) return 0;
  return static_cast<size_t>(
      std::count_if(found->second.begin(), found->second.end(),
                    [](const auto& sent) { return sent->acknowledged(); }));
}

std::string SimClient::ReadAll(int id, const TopicPartition& tp,
                               Records& out) {
  Shard& shard = cluster_->broker(id)->ShardOf(tp);
  ReadRequest request;
  request.tp = tp;
  request.offset = Offset(0);
  request.max_bytes = 1 << 20;
  for (;;) {
    auto answer = std::make_shared<std::optional<ReadOutcome>>();
    cluster_->AtShard(id, tp, [request, answer](Shard& at) {
      at.Read(request, [answer](ReadOutcome outcome) {
        *answer = std::move(outcome);
      });
    });
    cluster_->world().RunUntil([&] { return answer->has_value(); }, 1'000'000);
    if (!answer->has_value()) return "a read is not answered";
    const ReadOutcome& outcome = **answer;
    if (!outcome.error.ok()) return outcome.error.message;
    for (const Buffer& batches : outcome.batches) {
      if (auto why = DecodeValues(batches.view(), out); !why.empty()) {
        return why;
      }
    }
    if (outcome.next_offset >= outcome.high_watermark) break;
    if (outcome.next_offset <= request.offset) return "a read does not go on";
    request.offset = outcome.next_offset;
  }
  const Partition* partition = std::as_const(shard).Find(tp);
  if (partition == nullptr) return "the partition has left";
  return "";
}

std::string SimClient::CheckReadable(const TopicPartition& tp) {
  const int leader = cluster_->Leader(tp);
  if (leader == 0) return "nobody leads";
  Records records;
  if (auto why = ReadAll(leader, tp, records); !why.empty()) return why;
  std::map<std::string, Offset> places;
  Offset expected(0);
  for (const auto& [offset, value] : records) {
    if (offset != expected) return StrCat("RP22: a gap at ", expected);
    expected = offset.Next();
    if (!places.emplace(value, offset).second) {
      return StrCat(value, " is at ", places[value], " and at ", offset);
    }
  }
  for (const auto& sent : sent_[tp]) {
    if (!sent->acknowledged() || sent->acks != api::Acks::kAll) continue;
    const auto found = places.find(sent->value);
    if (found == places.end()) {
      return StrCat("RP1: ", sent->value, ", acknowledged at ",
                    sent->outcome->base_offset, ", is lost; the log has ",
                    records.size(), " records");
    }
    if (found->second != sent->outcome->base_offset) {
      return StrCat("RP1: ", sent->value, ", acknowledged at ",
                    sent->outcome->base_offset, ", is at ", found->second);
    }
  }
  for (const auto& [offset, value] : delivered_[tp]) {
    const auto found = records.find(offset);
    if (found == records.end() || found->second != value) {
      return StrCat("RP8: ", value, " was read at ", offset, ", now there is ",
                    found == records.end() ? "nothing" : found->second);
    }
  }
  delivered_[tp] = std::move(records);
  return "";
}

std::string SimClient::CheckReplicas(const TopicPartition& tp,
                                     bool converged) {
  std::optional<Offset> common;
  std::map<int, const Partition*> replicas;
  for (int id = 1; id <= cluster_->broker_count(); ++id) {
    SimBroker* process = cluster_->broker(id);
    const Partition* partition =
        process == nullptr ? nullptr : process->Find(tp);
    if (partition == nullptr || partition->failed()) continue;
    replicas[id] = partition;
    const Offset end =
        converged ? partition->leo() : partition->high_watermark();
    if (converged && common.has_value() && *common != end) {
      return StrCat("RP24: replicas end at ", *common, " and ", end);
    }
    common = std::min(common.value_or(end), end);
  }
  if (!common.has_value() || *common == Offset(0)) return "";
  std::optional<std::string> first;
  for (const auto& [id, partition] : replicas) {
    std::string bytes;
    for (Offset at(0); at < *common;) {
      auto plan = const_cast<Log&>(partition->log())
                      .PlanRead(at, *common, kReadBytesMax);
      if (!plan.ok()) return plan.status().ToString();
      auto read = ExecuteRead(*plan, /*no_wait=*/false);
      if (!read.ok()) return read.status().ToString();
      bytes.append((*read)->batches.view());
      if ((*read)->next_offset <= at) return StrCat("RP22: a gap at ", at);
      at = (*read)->next_offset;
    }
    if (first.has_value() && *first != bytes) {
      return StrCat("RP9: broker ", id, " holds other bytes below ", *common);
    }
    first = std::move(bytes);
  }
  return "";
}

}  // namespace sluice
