#include "test/sim/consume_program.h"

#include <algorithm>
#include <utility>

#include "client/fetched_batch.h"
#include "client/status_kinds.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "controller/metadata/image.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kPublicHost = "public";

template <class Positions>
std::set<NamedPartition> SetOf(const Positions& positions) {
  std::set<NamedPartition> set;
  for (const v1::ConsumePosition& position : positions) {
    set.insert({position.topic().name(), PartitionIndex(position.partition())});
  }
  return set;
}

// Each record of [from, next).
template <class Each>
absl::Status ForEachIn(const v1::ConsumeRecords& records,
                       const NamedPartition& tp, Offset from, Each&& each) {
  if (records.payload_case() == v1::ConsumeRecords::kBatches) {
    FetchedBatch batch;
    batch.tp = tp;
    batch.batches = {Buffer::CopyOf(records.batches())};
    batch.from = from;
    batch.next = Offset(records.next_offset());
    return ForEachRecord(batch, [&](const DecodedRecord& record) {
      each(record);
      return true;
    });
  }
  for (const v1::Record& record : records.records().records()) {
    DecodedRecord decoded;
    decoded.offset = Offset(record.offset());
    decoded.timestamp_ms = record.timestamp_ms();
    if (record.has_key()) decoded.key = record.key();
    if (record.has_value()) decoded.value = record.value();
    if (decoded.offset >= from) each(decoded);
  }
  return absl::OkStatus();
}

}  // namespace

void ConsumeCounts::Add(const ConsumeCounts& other) {
  pushes += other.pushes;
  assigned += other.assigned;
  resumed += other.resumed;
  revoked += other.revoked;
  lost += other.lost;
  withheld += other.withheld;
  owing += other.owing;
  committed += other.committed;
  refused += other.refused;
  moved += other.moved;
  taken_over += other.taken_over;
  stalled += other.stalled;
  half_closed += other.half_closed;
}

ConsumeProgram::ConsumeProgram(Deps deps)
    : deps_(std::move(deps)),
      plan_(deps_.plan->consume),
      process_(deps_.cluster, /*forwards=*/false),
      random_(deps_.cluster->random().Next64()) {
  OpenLater();
  if (plan_.restless_every_us > 0) BeRestless();
}

ConsumeProgram::~ConsumeProgram() {
  process_.Die();
  deps_.on_owned(membership::kNoGeneration, {});
}

std::string ConsumeProgram::ToString() const {
  return StrCat("the stream of process ", deps_.number, " of ",
                deps_.plan->id,
                deps_.instance.empty() ? "" : ", instance ", deps_.instance);
}

// ---- Streams ----

void ConsumeProgram::OpenLater() {
  process_.executor()->PostAfter(random_.Between(1, 2 * kAgainUs), [this] {
    // Now and then it has lost its token.
    const bool with_token = !token_.empty() && !random_.OneIn(8);
    if (!closing_ && !over_ && stream_ == 0) Open(with_token);
  });
}

void ConsumeProgram::Open(bool with_token) {
  resumes_ = with_token;
  SimDial dial;
  dial.network = &deps_.cluster->network();
  dial.own = process_.life();
  dial.executor = process_.executor();
  dial.to = NodeId(static_cast<int32_t>(
      random_.Between(1, deps_.cluster->broker_count())));
  if (elsewhere_.has_value()) dial.to = *elsewhere_;
  elsewhere_.reset();
  dial.listener = kPublicListener;
  const StreamId id = stream_ = ++last_stream_;
  ConsumeEvents events;
  events.on_frame = [this, id](const ConsumePush& push) {
    OnMessage(id, push.message);
  };
  events.on_closed = [this, id](const absl::Status& why) {
    OnClosed(id, why);
  };
  sender_ = OpenSimConsume(std::move(dial), std::move(events));
  sender_->Send(FirstMessage());
}

v1::ConsumeRequest ConsumeProgram::FirstMessage() const {
  const GroupPlan& plan = *deps_.plan;
  v1::ConsumeRequest first;
  v1::ConsumeOpen* open = first.mutable_open();
  open->set_group_id(plan.id);
  open->set_client_id(StrCat("process", deps_.number));
  open->set_group_instance_id(deps_.instance);
  for (const std::string& topic : plan.topics) open->add_topics(topic);
  for (const consumer::Assignor assignor : plan.assignors) {
    open->add_assignors(std::string(consumer::NameOf(assignor)));
  }
  open->set_session_timeout_ms(static_cast<int32_t>(plan.session_ms));
  open->set_max_poll_interval_ms(static_cast<int32_t>(plan.poll_interval_ms));
  open->set_ack_mode(plan_.auto_ack ? v1::ConsumeOpen::ACK_MODE_AUTO
                                    : v1::ConsumeOpen::ACK_MODE_EXPLICIT);
  open->set_form(plan_.batches ? v1::PAYLOAD_FORM_BATCHES
                               : v1::PAYLOAD_FORM_RECORDS);
  if (resumes_) open->set_resume_token(token_);
  first.set_credit_bytes(plan_.credit_bytes);
  return first;
}

// What it was pushed and has not worked off comes again, to whoever has it then.
void ConsumeProgram::DropStream() {
  // Its own end may be what is running.
  if (sender_ != nullptr) {
    process_.executor()->Post([sender = std::move(sender_)] {});
  }
  sender_ = nullptr;
  stream_ = 0;
  generation_ = membership::kNoGeneration;
  owned_.clear();
  revokes_.clear();
  pushes_.clear();
  given_.clear();
  acked_.clear();
  TellOwned();
}

void ConsumeProgram::Close() {
  if (closing_) return;
  closing_ = true;
  process_.executor()->Post([this] {
    if (over_) return;
    pushes_.clear();
    older_.clear();
    if (sender_ == nullptr) {
      over_ = true;
      return;
    }
    sender_->HalfClose();
  });
}

void ConsumeProgram::Hurry() {
  hurries_ = true;
  process_.executor()->Post([this] { older_.clear(); });
}

void ConsumeProgram::Hang(int64_t us) {
  hangs_until_us_ = process_.clock().MonoMicros() + us;
}

void ConsumeProgram::OnClosed(StreamId id, const absl::Status& why) {
  if (id == stream_) return OnEnd(why);
  const auto older = older_.find(id);
  if (older == older_.end()) return;
  if (CodeOf(why) == ErrorCode::kTakenOver) ++deps_.counts->taken_over;
  process_.executor()->Post([sender = std::move(older->second)] {});
  older_.erase(older);
}

void ConsumeProgram::OnEnd(const absl::Status& why) {
  const ErrorCode code = CodeOf(why);
  const bool left = std::exchange(leaves_, false) || closing_;
  older_.clear();
  DropStream();
  if (left && why.ok()) ++deps_.counts->half_closed;
  if (closing_ || code == ErrorCode::kFencedInstanceId) {
    over_ = true;
    return;
  }
  switch (code) {
    case ErrorCode::kTakenOver:
      // By a stream of its own, of whose end it was not told in time: its
      // token is used up.
      ++deps_.counts->taken_over;
      token_.clear();
      break;
    case ErrorCode::kConsumerStalled:
      ++deps_.counts->stalled;
      break;
    default:
      if (why.ok() ? !left : !IsRetriableStatus(why)) {
        deps_.report(StrCat("REFUSED: ", ToString(), ": ", why.ToString()));
      }
  }
  if (left) token_.clear();
  OpenLater();
}

// It goes to another broker: before that one has heard of it, while that one is
// open still, or by way of the door.
void ConsumeProgram::BeRestless() {
  process_.executor()->PostAfter(
      random_.Between(1, 2 * plan_.restless_every_us), [this] {
        if (closing_ || over_ || hurries_) return;
        BeRestless();
        if (stream_ == 0 || leaves_) return;
        if (!random_.OneIn(3)) return GoOnElsewhere();
        leaves_ = true;
        pushes_.clear();
        sender_->HalfClose();
      });
}

void ConsumeProgram::GoOnElsewhere() {
  if (random_.OneIn(2)) return TakeOverOwn();
  sender_->Close();
  DropStream();
  OpenLater();
}

// The older stream hears of it from its broker, soon.
void ConsumeProgram::TakeOverOwn() {
  if (generation_ < 0) return;  // the token is not this stream's
  process_.executor()->PostAfter(kOlderUs,
                                 [this, id = stream_] { older_.erase(id); });
  older_[stream_] = std::exchange(sender_, nullptr);
  DropStream();
  Open(/*with_token=*/true);
}

// ---- What the broker says ----

void ConsumeProgram::OnMessage(StreamId id,
                               const v1::ConsumeResponse& message) {
  if (id != stream_ || over_) return;
  switch (message.message_case()) {
    case v1::ConsumeResponse::kAssigned: return OnAssigned(message.assigned());
    case v1::ConsumeResponse::kRevoke: return OnRevoke(message.revoke());
    case v1::ConsumeResponse::kRecords: return OnRecords(message.records());
    case v1::ConsumeResponse::kCommitted:
      return OnCommitted(message.committed());
    case v1::ConsumeResponse::kMoved: {
      ++deps_.counts->moved;
      const std::string& host = message.moved().endpoint().host();
      if (host.starts_with(kPublicHost)) {
        elsewhere_ = NodeId(std::stoi(host.substr(kPublicHost.size())));
      }
      return;
    }
    case v1::ConsumeResponse::MESSAGE_NOT_SET:
      return deps_.report(StrCat(ToString(), " was told nothing"));
  }
}

void ConsumeProgram::OnAssigned(const v1::ConsumeAssigned& assigned) {
  ++deps_.counts->assigned;
  if (std::exchange(resumes_, false)) {
    if (assigned.member_id() == member_id_) {
      ++deps_.counts->resumed;
    } else {
      older_.clear();  // of no member any more, or of another one
    }
  }
  member_id_ = assigned.member_id();
  generation_ = assigned.generation_id();
  token_ = assigned.resume_token();
  // What it was to give back and did not in time is taken from it.
  for (const auto& [id, partitions] : std::exchange(revokes_, {})) {
    LetGo(partitions);
  }
  for (const NamedPartition& tp : SetOf(assigned.added())) {
    owned_.insert(tp);
    given_.erase(tp);
    acked_.erase(tp);
  }
  TellOwned();
}

void ConsumeProgram::OnRevoke(const v1::ConsumeRevoke& revoke) {
  const std::set<NamedPartition> partitions = SetOf(revoke.partitions());
  if (revoke.lost()) {
    ++deps_.counts->lost;
    LetGo(partitions);
    return TellOwned();
  }
  ++deps_.counts->revoked;
  revokes_[revoke.revoke_id()] = partitions;
  if (plan_.restless_every_us > 0 && !closing_ && !leaves_ &&
      random_.OneIn(kOwesOneIn)) {
    // Whoever goes on as this member is not told of what it owes.
    ++deps_.counts->owing;
    process_.executor()->Post([this, stream = stream_] {
      if (stream == stream_ && !closing_) GoOnElsewhere();
    });
    return;
  }
  if (!hurries_ && random_.OneIn(kWithholdsOneIn)) {
    ++deps_.counts->withheld;
    return;
  }
  process_.executor()->PostAfter(
      Patience(int64_t{revoke.timeout_ms()} * 500),
      [this, id = revoke.revoke_id(), stream = stream_] {
        if (stream == stream_) AnswerRevoke(id);
      });
}

void ConsumeProgram::OnRecords(const v1::ConsumeRecords& records) {
  ++deps_.counts->pushes;
  Push push;
  push.records = records;
  push.tp = {records.topic().name(), PartitionIndex(records.partition())};
  if (!owned_.contains(push.tp)) {
    return deps_.report(StrCat("PHANTOM: ", ToString(), " was pushed ",
                               push.tp, ", which it does not have"));
  }
  if (closing_ || leaves_) return;
  pushes_.push_back(std::move(push));
  WorkLater();
}

void ConsumeProgram::OnCommitted(const v1::ConsumeCommitted& committed) {
  for (const v1::ConsumeCommit& result : committed.results()) {
    ++(result.has_error() ? deps_.counts->refused : deps_.counts->committed);
  }
}

// ---- Its work ----

int64_t ConsumeProgram::Patience(int64_t most_us) {
  const int64_t hangs_us = hangs_until_us_ - process_.clock().MonoMicros();
  const int64_t slow_us =
      hurries_ ? 0 : random_.Between(0, std::min(most_us, plan_.slow_us));
  return std::max<int64_t>(0, hangs_us) + slow_us;
}

void ConsumeProgram::WorkLater() {
  if (pushes_.empty() || std::exchange(works_, true)) return;
  process_.executor()->PostAfter(Patience(plan_.slow_us), [this] {
    works_ = false;
    Work();
  });
}

// The oldest push. In auto mode its credit is what acknowledges it; else an
// acknowledgement may wait for the next one of the partition.
void ConsumeProgram::Work() {
  if (pushes_.empty() || over_ || closing_ || leaves_) return;
  Push push = std::move(pushes_.front());
  pushes_.pop_front();
  if (!push.in_vain) Give(push);
  v1::ConsumeRequest request;
  request.set_credit_bytes(push.records.charged_bytes());
  const Offset next = given_[push.tp];
  const bool waits =
      std::any_of(pushes_.begin(), pushes_.end(),
                  [&](const Push& later) { return later.tp == push.tp; }) &&
      random_.OneIn(3);
  if (!plan_.auto_ack && !push.in_vain && !waits &&
      acked_[push.tp] < next) {
    PutAck(push.tp, next, request.mutable_ack()->add_offsets());
    acked_[push.tp] = next;
  }
  sender_->Send(std::move(request));
  WorkLater();
}

void ConsumeProgram::Give(Push& push) {
  if (std::exchange(push.done, true)) return;
  std::string& topic_id = topic_ids_[push.tp];
  if (topic_id != push.records.topic_id()) {
    topic_id = push.records.topic_id();
    given_.erase(push.tp);
    acked_.erase(push.tp);
  }
  Offset& next = given_[push.tp];
  const absl::Status read =
      ForEachIn(push.records, push.tp, next, [&](const DecodedRecord& record) {
        deps_.on_record(push.tp, record);
      });
  if (!read.ok()) {
    deps_.report(StrCat("CORRUPT: ", ToString(), ": ", push.tp, ": ",
                        read.ToString()));
  }
  const Offset behind(push.records.next_offset());
  // Where it stood is not in the log any more: it is read from another place.
  if (behind < next) acked_.erase(push.tp);
  next = behind;
}

void ConsumeProgram::PutAck(const NamedPartition& tp, Offset next,
                            v1::OffsetCommit* out) {
  if (number() % 2 == 0) {
    out->mutable_topic()->set_name(tp.topic);
  } else {
    out->mutable_topic()->set_id(topic_ids_[tp]);
  }
  out->set_partition(tp.partition.value());
  out->set_offset(next.value());
}

// All that was pushed of these is worked off first, or given up.
void ConsumeProgram::AnswerRevoke(int64_t revoke_id) {
  const auto found = revokes_.find(revoke_id);
  if (found == revokes_.end() || over_ || closing_ || leaves_) return;
  const std::set<NamedPartition> partitions = found->second;
  revokes_.erase(found);
  v1::ConsumeRequest request;
  v1::ConsumeRevokeAck* answer = request.mutable_revoke_ack();
  answer->set_revoke_id(revoke_id);
  if (random_.OneIn(2)) {
    for (Push& push : pushes_) {
      if (partitions.contains(push.tp)) Give(push);
    }
  }
  for (const NamedPartition& tp : partitions) {
    const auto next = given_.find(tp);
    if (next == given_.end() || acked_[tp] >= next->second) continue;
    PutAck(tp, next->second, answer->add_offsets());
  }
  sender_->Send(std::move(request));
  LetGo(partitions);
  TellOwned();
}

void ConsumeProgram::LetGo(const std::set<NamedPartition>& partitions) {
  for (const NamedPartition& tp : partitions) {
    owned_.erase(tp);
    given_.erase(tp);
    acked_.erase(tp);
  }
  for (Push& push : pushes_) {
    if (partitions.contains(push.tp)) push.in_vain = true;
  }
}

}  // namespace sluice::sim
