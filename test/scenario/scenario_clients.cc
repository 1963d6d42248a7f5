// Records that are sent and read.
#include <utility>

#include "common/base/str_cat.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

constexpr int32_t kProduceTimeoutMs = 30'000;
constexpr int64_t kReadLimitMs = 1'000;

api::CallContext ContextAt(sim::SimNode& node) {
  api::CallContext context;
  context.client_id = "scenario";
  context.listener = kPublicListener;
  context.deadline_us = node.host.MonoMicros() + 2'000 * kProduceTimeoutMs;
  return context;
}

}  // namespace

AnswerPtr Scenario::SendTo(int broker, const api::TopicRef& topic,
                           int partition, const std::string& value, int acks,
                           std::function<void(const Answer&)> on_answer) {
  const auto answer = std::make_shared<Answer>();
  sim::SimNode& node = sim().at(broker);
  if (node.broker == nullptr) {
    *answer = {true, ErrorCode::kBrokerNotAvailable};
    return answer;
  }
  api::ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = kProduceTimeoutMs;
  auto& part = request.partitions.emplace_back();
  part.topic = topic;
  part.partition = PartitionIndex(partition);
  api::Record record;
  record.value = value;
  part.payload = std::vector<api::Record>{record};
  node.broker->Produce(
      ContextAt(node), std::move(request), [] {},
      [this, answer, value, on_answer = std::move(on_answer)](
          absl::Status status, api::ProduceResponse response) {
        answer->given = true;
        answer->code = CodeOf(status);
        if (status.ok()) {
          const api::ProduceResult& result = response.results.at(0);
          answer->code = result.error.code;
          answer->offset = result.base_offset;
          answer->below_min_isr = result.below_min_isr;
          answer->durability = result.durability;
        }
        Note(StrCat(value, ": ", NameOf(answer->code), " at ", answer->offset));
        on_answer(*answer);
      });
  return answer;
}

AnswerPtr Scenario::Send(int broker, const Tp& tp, const std::string& value,
                         int acks) {
  Note(StrCat("send ", value, " to ", broker, ", acks=", acks));
  sent_[tp].insert(value);
  const TopicPartition id = IdOf(tp, Where::current());
  return SendTo(broker, {tp.topic, {}}, tp.partition, value, acks,
                [this, tp, id, value, acks](const Answer& answer) {
                  if (!answer.acked() || acks != -1) return;
                  acked_[tp][answer.offset] = value;
                  unchecked_acks_.emplace_back(id, answer.offset);
                });
}

AnswerPtr Scenario::SendById(int broker, const TopicId& topic,
                             const std::string& value,
                             const std::string& name) {
  Note(StrCat("send ", value, " to ", broker, ", by id"));
  return SendTo(broker, {name, topic}, 0, value, -1, [](const Answer&) {});
}

void Scenario::UntilAnswered(const AnswerPtr& answer, Where where) {
  Until("a producer is answered", [&] { return answer->given; },
        2 * kProduceTimeoutMs, where);
}

void Scenario::UntilAcked(const AnswerPtr& answer, Where where) {
  UntilAnswered(answer, where);
  Expect(answer->acked(),
         StrCat("a record is acknowledged, not ", NameOf(answer->code)), where);
}

void Scenario::UntilRefused(const AnswerPtr& answer, ErrorCode code,
                            Where where) {
  UntilAnswered(answer, where);
  Expect(answer->code == code,
         StrCat("a record is refused with ", NameOf(code), ", not ",
                NameOf(answer->code)),
         where);
}

void Scenario::ExpectUnanswered(const AnswerPtr& answer, Where where) {
  Expect(!answer->given,
         StrCat("a producer still waits: ", NameOf(answer->code)), where);
}

Offset Scenario::Produce(const Tp& tp, const std::string& value, Where where) {
  const AnswerPtr answer = Send(Committed(tp).leader.value(), tp, value);
  UntilAcked(answer, where);
  return answer->offset;
}

Scenario::Fetched Scenario::Fetch(int broker, const Tp& tp, int64_t offset,
                                  Where where) {
  return FetchFrom(broker, {tp.topic, {}}, tp.partition, offset, "", where);
}

Scenario::Fetched Scenario::FetchNear(int broker, const Tp& tp, int64_t offset,
                                      Where where) {
  return FetchFrom(broker, {tp.topic, {}}, tp.partition, offset, "near", where);
}

Scenario::Fetched Scenario::FetchById(int broker, const TopicId& topic,
                                      int64_t offset, const std::string& name,
                                      Where where) {
  return FetchFrom(broker, {name, topic}, 0, offset, "", where);
}

Scenario::Fetched Scenario::FetchFrom(int broker, const api::TopicRef& topic,
                                      int partition, int64_t offset,
                                      const std::string& rack, Where where) {
  api::FetchRequest request;
  request.rack = rack;
  auto& part = request.partitions.emplace_back();
  part.topic = topic;
  part.partition = PartitionIndex(partition);
  part.offset = Offset(offset);
  sim::SimNode& node = sim().at(broker);
  if (node.broker == nullptr) return {ErrorCode::kBrokerNotAvailable};
  // Shared: it may be answered when nobody waits any more.
  const auto fetched = std::make_shared<std::optional<Fetched>>();
  node.broker->Fetch(
      ContextAt(node), std::move(request),
      [fetched](absl::Status status, api::FetchResponse response) {
        fetched->emplace();
        Fetched& to = **fetched;
        to.code = CodeOf(status);
        if (!status.ok()) return;
        const api::FetchResult& result = response.results.at(0);
        to.code = result.error.code;
        to.high_watermark = result.high_watermark;
        for (const api::Record& record : result.records) {
          to.values.push_back(record.value.value_or(""));
        }
      });
  Until("a fetch is answered", [&] { return fetched->has_value(); },
        kReadLimitMs, where);
  return **fetched;
}

Scenario::Latest Scenario::ListLatest(int broker, const Tp& tp, Where where) {
  api::ListOffsetsRequest request;
  auto& partition = request.partitions.emplace_back();
  partition.topic.name = tp.topic;
  partition.partition = PartitionIndex(tp.partition);
  partition.position = api::OffsetPosition::kLatest;
  sim::SimNode& node = sim().at(broker);
  if (node.broker == nullptr) return {ErrorCode::kBrokerNotAvailable};
  const auto latest = std::make_shared<std::optional<Latest>>();
  node.broker->ListOffsets(
      ContextAt(node), std::move(request),
      [latest](absl::Status status, api::ListOffsetsResponse response) {
        latest->emplace();
        (*latest)->code = CodeOf(status);
        if (!status.ok()) return;
        (*latest)->code = response.results.at(0).error.code;
        (*latest)->offset = response.results.at(0).offset;
      });
  Until("ListOffsets is answered", [&] { return latest->has_value(); },
        kReadLimitMs, where);
  return **latest;
}

AnswerPtr Scenario::Trim(int broker, const Tp& tp, int64_t before) {
  Note(StrCat("trim to ", before, " at ", broker));
  const auto answer = std::make_shared<Answer>();
  api::DeleteRecordsRequest request;
  request.timeout_ms = kProduceTimeoutMs;
  auto& partition = request.partitions.emplace_back();
  partition.topic.name = tp.topic;
  partition.partition = PartitionIndex(tp.partition);
  partition.before_offset = Offset(before);
  sim::SimNode& node = sim().at(broker);
  if (node.broker == nullptr) {
    *answer = {true, ErrorCode::kBrokerNotAvailable};
    return answer;
  }
  node.broker->DeleteRecords(
      ContextAt(node), std::move(request),
      [this, answer](absl::Status status, api::DeleteRecordsResponse response) {
        answer->given = true;
        answer->code = CodeOf(status);
        if (status.ok()) {
          answer->code = response.results.at(0).error.code;
          answer->offset = response.results.at(0).log_start_offset;
        }
        Note(StrCat("trimmed: ", NameOf(answer->code), ", the log starts at ",
                    answer->offset));
      });
  return answer;
}

void Scenario::ExpectValue(const Tp& tp, int64_t offset,
                           const std::string& value, Where where) {
  const Fetched fetched =
      Fetch(Committed(tp).leader.value(), tp, offset, where);
  Expect(!fetched.values.empty() && fetched.values[0] == value,
         StrCat("a reader finds ", value, " at ", offset, ", not ",
                fetched.values.empty() ? NameOf(fetched.code)
                                       : fetched.values[0]),
         where);
}

// Of the partition as all replicas have it now.
void Scenario::MayLose(const Tp& tp, Where where) {
  const PartitionImage& state = Committed(tp, where);
  Expect(state.last_unclean_leader_epoch != kNoLeaderEpoch,
         StrCat(tp.ToString(), " was elected unclean"), where);
  auto& acked = acked_[tp];
  acked.erase(acked.lower_bound(state.unclean_loss.first), acked.end());
}

void Scenario::CheckRecords(const Tp& tp, Where where) {
  const int leader = Committed(tp).leader.value();
  const Values log = LogOf(leader, tp);
  const Offset start = Core(leader, tp, where).log_start();
  for (const auto& [offset, value] : acked_[tp]) {
    if (offset < start) continue;
    const auto at = static_cast<size_t>(offset - start);
    Expect(at < log.size() && log[at] == value,
           StrCat(value, ", acknowledged at ", offset, ", is there"), where);
  }
  for (const std::string& value : log) {
    Expect(sent_[tp].contains(value), StrCat(value, " was sent"), where);
  }
}

}  // namespace sluice::scenario
