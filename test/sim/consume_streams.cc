#include "test/sim/consume_streams.h"

#include <utility>

#include "common/base/str_cat.h"
#include "test/sim/wire.h"

namespace sluice::sim {
namespace {

using consumer::NamedPartition;

// A node's clock runs up to a tenth faster than the network's.
constexpr int64_t kTenthsOfTimeout = 8;
constexpr size_t kTopicIdBytes = 16;

const google::protobuf::RepeatedPtrField<v1::OffsetCommit>& AcksOf(
    const v1::ConsumeRequest& request) {
  return request.has_revoke_ack() ? request.revoke_ack().offsets()
                                  : request.ack().offsets();
}

}  // namespace

// By the name that its broker gave with the id.
template <class Item>
NamedPartition ConsumeStreams::NameOf(const Stream& stream,
                                      const Item& item) const {
  const auto found = stream.topics.find(item.topic().id());
  if (item.topic().has_id() && found != stream.topics.end()) {
    return {found->second, PartitionIndex(item.partition())};
  }
  return {item.topic().name(), PartitionIndex(item.partition())};
}

void ConsumeStreams::OnMessage(const Message& message, Fate fate) {
  if (message.kind == MessageKind::kConsume) {
    if (fate != Fate::kSent && fate != Fate::kDelivered) return;
    const auto request = Wire<v1::ConsumeRequest>::Decode(message.bytes);
    return fate == Fate::kSent ? OnSent(message, request)
                               : OnArrived(message, request);
  }
  if (fate != Fate::kSent) return;
  if (message.kind == MessageKind::kStreamEnd) streams_.erase(message.lane);
  if (message.kind != MessageKind::kConsumeReply) return;
  OnSaid(message, Wire<v1::ConsumeResponse>::Decode(message.bytes));
}

// ---- The client ----

void ConsumeStreams::OnSent(const Message& message,
                            const v1::ConsumeRequest& request) {
  if (request.has_open()) {
    Stream& stream = streams_[message.lane];
    stream.group = request.open().group_id();
    stream.instance = request.open().group_instance_id();
    stream.auto_ack =
        request.open().ack_mode() == v1::ConsumeOpen::ACK_MODE_AUTO;
    return;  // the credit it begins with is no word about records
  }
  const auto found = streams_.find(message.lane);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  Acknowledge(stream, AcksOf(request));
  if (stream.auto_ack) Release(stream, request.credit_bytes());
}

void ConsumeStreams::Acknowledge(Stream& stream, const Offsets& offsets) {
  for (const v1::OffsetCommit& offset : offsets) {
    const NamedPartition tp = NameOf(stream, offset);
    stream.acked[tp] = Offset(offset.offset());
    Claim(stream, tp, Offset(offset.offset()));
  }
}

// Grants acknowledge the oldest bytes that were pushed.
void ConsumeStreams::Release(Stream& stream, int64_t bytes) {
  stream.released_bytes += bytes;
  while (!stream.pushed.empty() &&
         stream.released_bytes >= stream.pushed.front().bytes) {
    const Released first = std::move(stream.pushed.front());
    stream.pushed.pop_front();
    stream.released_bytes -= first.bytes;
    stream.acked[first.tp] = first.next;
    Claim(stream, first.tp, first.next);
  }
}

void ConsumeStreams::Claim(const Stream& stream, const NamedPartition& tp,
                           Offset offset) {
  v1::CommitOffsetsRequest claim;
  claim.set_group_id(stream.group);
  claim.set_member_id(stream.member);
  claim.set_generation_id(stream.generation);
  v1::OffsetCommit* commit = claim.add_offsets();
  commit->mutable_topic()->set_name(tp.topic);
  commit->set_partition(tp.partition.value());
  commit->set_offset(offset.value());
  invariants_.OnClaimed(claim);
}

void ConsumeStreams::OnArrived(const Message& message,
                               const v1::ConsumeRequest& request) {
  const auto found = streams_.find(message.lane);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  stream.credit += request.credit_bytes();
  for (const v1::OffsetCommit& offset : AcksOf(request)) {
    stream.asked[NameOf(stream, offset)].push_back(
        {invariants_.Arrived(message.to, stream.group), stream.member,
         Offset(offset.offset())});
  }
  if (request.has_revoke_ack() && stream.revoke.has_value() &&
      stream.revoke->id == request.revoke_ack().revoke_id()) {
    stream.revoke.reset();
  }
}

// ---- Its broker ----

void ConsumeStreams::OnSaid(const Message& message,
                            const v1::ConsumeResponse& response) {
  const auto found = streams_.find(message.lane);
  if (found == streams_.end()) return;
  Stream& stream = found->second;
  switch (response.message_case()) {
    case v1::ConsumeResponse::kAssigned:
      return OnAssigned(message, stream, response.assigned());
    case v1::ConsumeResponse::kRevoke: {
      const v1::ConsumeRevoke& revoke = response.revoke();
      for (const auto& position : revoke.partitions()) {
        stream.assigned.erase(NameOf(stream, position));
      }
      if (revoke.lost()) return;
      stream.revoke = {revoke.revoke_id(), message.sent_us,
                       int64_t{revoke.timeout_ms()} * 1000};
      return;
    }
    case v1::ConsumeResponse::kRecords:
      return OnRecords(stream, response.records());
    case v1::ConsumeResponse::kCommitted:
      return OnCommitted(stream, response.committed());
    default:
      return;
  }
}

void ConsumeStreams::OnAssigned(const Message& message, Stream& stream,
                                const v1::ConsumeAssigned& assigned) {
  if (stream.revoke.has_value()) {
    const int64_t after_us = message.sent_us - stream.revoke->sent_us;
    if (after_us * 10 < stream.revoke->timeout_us * kTenthsOfTimeout) {
      report_(StrCat("RELEASED: a stream of group ", stream.group, ", member ",
                     assigned.member_id(), ", was given up what was revoked ",
                     after_us, " us before, and had ",
                     stream.revoke->timeout_us, " us to answer"));
    }
    stream.revoke.reset();
  }
  stream.member = assigned.member_id();
  stream.generation = assigned.generation_id();
  invariants_.EndClaims(stream.group, stream.member, stream.generation);
  for (const auto& position : assigned.added()) {
    stream.assigned.insert(NameOf(stream, position));
    stream.acked.erase(NameOf(stream, position));
    stream.asked.erase(NameOf(stream, position));
  }
  for (const auto& position : assigned.partitions()) {
    if (stream.assigned.contains(NameOf(stream, position))) continue;
    report_(StrCat("ASSIGNED: a stream of group ", stream.group, " has ",
                   NameOf(stream, position), " in generation ", stream.generation,
                   ", and was never told that it was added"));
  }
  for (const auto& [tp, offset] : stream.acked) Claim(stream, tp, offset);
}

void ConsumeStreams::OnRecords(Stream& stream,
                               const v1::ConsumeRecords& records) {
  const NamedPartition tp = NameOf(stream, records);
  if (records.topic_id().size() != kTopicIdBytes) {
    report_(StrCat("TOPIC: a stream of group ", stream.group, ", member ",
                   stream.member, ", was pushed ", tp, " with a topic id of ",
                   records.topic_id().size(), " bytes"));
  }
  stream.topics[records.topic_id()] = tp.topic;
  if (!stream.assigned.contains(tp)) {
    report_(StrCat("PHANTOM: a stream of group ", stream.group, ", member ",
                   stream.member, ", was pushed ", tp,
                   ", which it does not have"));
  }
  if (stream.credit <= 0) {
    report_(StrCat("CREDIT: a stream of group ", stream.group, ", member ",
                   stream.member, ", was pushed ", records.charged_bytes(),
                   " bytes of ", tp, " with a credit of ", stream.credit));
  }
  stream.credit -= records.charged_bytes();
  if (stream.auto_ack) {
    stream.pushed.push_back(
        {tp, Offset(records.next_offset()), records.charged_bytes()});
  }
}

void ConsumeStreams::OnCommitted(Stream& stream,
                                 const v1::ConsumeCommitted& committed) {
  for (const v1::ConsumeCommit& result : committed.results()) {
    const NamedPartition tp = NameOf(stream, result);
    const auto found = stream.asked.find(tp);
    if (found == stream.asked.end() ||
        result.error().code() != v1::ERROR_CODE_UNSPECIFIED) {
      continue;
    }
    std::deque<Asked>& asked = found->second;
    while (!asked.empty() && asked.front().offset <= Offset(result.offset())) {
      if (asked.front().offset == Offset(result.offset())) {
        answers_.push_back({asked.front(), stream.group, stream.instance,
                            result.topic(), result.partition()});
      }
      asked.pop_front();
    }
  }
}

void ConsumeStreams::TellAnswers() {
  for (const Answer& answer : std::exchange(answers_, {})) {
    v1::CommitOffsetsRequest request;
    request.set_group_id(answer.group);
    request.set_member_id(answer.asked.member);
    request.set_group_instance_id(answer.instance);
    v1::OffsetCommit* commit = request.add_offsets();
    *commit->mutable_topic() = answer.topic;
    commit->set_partition(answer.partition);
    commit->set_offset(answer.asked.offset.value());
    v1::CommitOffsetsResponse response;
    response.add_results();
    invariants_.OnAnswered(answer.asked.moment, request, response);
  }
}

}  // namespace sluice::sim
