#include "broker/consume_driver/consume_stream.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <variant>

#include "common/base/error.h"
#include "storage/batch_header.h"

namespace sluice {

using namespace consume;  // NOLINT: the words of the core

namespace {

absl::Status StatusOf(const v1::Error& error) {
  const ErrorCode code = CodeFromNumber(error.code());
  return code == ErrorCode::kNone ? absl::OkStatus()
                                  : MakeErrorStatus(code, error.message());
}

// Of the call, else of the answer's body.
template <class Response>
absl::Status StatusOf(const absl::StatusOr<Response>& answer) {
  return answer.ok() ? StatusOf(answer->error()) : answer.status();
}

consumer::PartitionCounts CountsOf(const MetadataImage& image,
                                   const std::set<std::string>& topics) {
  consumer::PartitionCounts counts;
  for (const std::string& name : topics) {
    const TopicImage* topic = image.FindTopic(name);
    if (topic == nullptr) continue;
    counts[name] = static_cast<int32_t>(topic->partitions.size());
  }
  return counts;
}

// Somebody else who is alive, beginning behind this broker.
std::optional<v1::Endpoint> AnotherBroker(const MetadataImage& image,
                                          NodeId self) {
  std::optional<v1::Endpoint> first;
  for (const auto& [id, broker] : image.brokers()) {
    if (id == self || !broker->active()) continue;
    const auto* listener = broker->FindListener(kPublicListener);
    if (listener == nullptr) continue;
    v1::Endpoint endpoint;
    endpoint.set_host(listener->endpoint().host());
    endpoint.set_port(listener->endpoint().port());
    if (id > self) return endpoint;
    if (!first.has_value()) first = std::move(endpoint);
  }
  return first;
}

// As they were asked of by id.
void PutNames(const TopicIds& topics, v1::GroupOffsets& offsets) {
  std::map<std::string, std::string> names;
  for (const auto& [name, id] : topics) names[id.ToBytes()] = name;
  for (v1::CommittedOffset& offset : *offsets.mutable_offsets()) {
    const auto name = names.find(offset.topic().id());
    if (name != names.end()) offset.mutable_topic()->set_name(name->second);
  }
}

// Each buffer is whole batches, as they were read.
int64_t RecordsIn(const ConsumePush& push) {
  auto count = static_cast<int64_t>(push.records.size());
  for (const Buffer& buffer : push.batches) {
    BatchCursor cursor(buffer.view());
    auto batch = cursor.Next();
    for (; batch.ok() && batch->has_value(); batch = cursor.Next()) {
      count += (*batch)->header().record_count;
    }
  }
  return count;
}

}  // namespace

ConsumeStream::ConsumeStream(const ConsumeDeps& deps,
                             std::shared_ptr<ConsumeStreams> all,
                             std::shared_ptr<Random> random,
                             api::CallContext context, Budget::Share share,
                             std::shared_ptr<ConsumeSink> sink)
    : deps_(deps),
      all_(std::move(all)),
      random_(std::move(random)),
      context_(std::move(context)),
      pending_(Budget::Of(kRequestsPendingMax)),
      share_(std::move(share)),
      sink_(std::move(sink)) {}

void ConsumeStream::Start() {
  deps_.worker->Post([self = shared_from_this()] { self->Begin(); });
}

void ConsumeStream::Begin() {
  core_ = std::make_unique<ConsumeCore>(
      ConsumeCore::Deps{random_.get(), deps_.new_secret(), context_.client_id},
      deps_.clock->MonoMicros());
  number_ = all_->Add(shared_from_this());
  if (all_->stopping()) return Stop(0);
  SetTimer();
  WatchTopics();
}

// ---- From the edge ----

void ConsumeStream::OnRequest(v1::ConsumeRequest request) {
  auto share = pending_->TryTake(1);
  if (!share.has_value()) {
    deps_.worker->Post([self = shared_from_this()] {
      if (self->sink_ == nullptr) return;
      self->why_ended_ = MakeError(
          ErrorCode::kBusy, kRequestsPendingMax,
          " messages of this stream have not been heard yet; send fewer, with "
          "more acknowledgements and credit each");
      self->Do(Broken{});
    });
    return;
  }
  deps_.worker->Post([self = shared_from_this(), request = std::move(request),
                      share = *std::move(share)]() mutable {
    auto names = self->NameTopics(request);
    self->Do(ClientSaid{std::move(request), std::move(names)});
  });
}

void ConsumeStream::OnDrained() {
  deps_.worker->Post([self = shared_from_this()] {
    self->unsent_ = 0;
    if (self->subscription_ != nullptr) self->subscription_->OnDrained();
  });
}

void ConsumeStream::OnNoMore(absl::Status why) {
  if (why.ok()) {
    deps_.worker->PostAfter(kHalfCloseUs, [self = shared_from_this()] {
      self->Do(HalfClosed{});
    });
    return;
  }
  deps_.worker->Post(
      [self = shared_from_this()] { self->Stop(kDrainPatienceUs); });
}

void ConsumeStream::OnClosed() {
  deps_.worker->Post([self = shared_from_this()] { self->Do(Broken{}); });
}

void ConsumeStream::Stop(int64_t patience_us) {
  Do(BrokerStops{AnotherBroker(*deps_.image->Load(), deps_.self),
                 patience_us});
}

// ---- Steps ----

// What the actions of a step cause at once is the next step's.
void ConsumeStream::Do(Event event,
                       std::optional<api::SubscribeResponse> records) {
  if (sink_ == nullptr) return;
  told_.push_back({std::move(event), std::move(records)});
  if (stepping_) return;
  stepping_ = true;
  const auto self = shared_from_this();
  while (!told_.empty() && sink_ != nullptr) {
    Told next = std::move(told_.front());
    told_.pop_front();
    current_ = std::move(next.records);
    const auto actions =
        core_->Step(next.event, deps_.clock->MonoMicros());
    for (const Action& action : actions) {
      std::visit([this](const auto& a) { Carry(a); }, action);
    }
    // Nobody took them: what they hold of the subscription's memory is free.
    if (current_.has_value()) Discard(0);
  }
  stepping_ = false;
  SetTimer();
}

void ConsumeStream::SetTimer() {
  if (timer_ != 0) deps_.worker->Cancel(timer_);
  timer_ = 0;
  if (sink_ == nullptr) return;
  const int64_t wake_us = core_->NextWakeUs();
  if (wake_us == ConsumeCore::kNever) return;
  timer_ = deps_.worker->PostAfter(
      std::max<int64_t>(0, wake_us - deps_.clock->MonoMicros()),
      [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->timer_ = 0;
        self->Do(Tick{});
      });
}

// Of the topics that somebody in the group subscribes to, for whoever leads it.
void ConsumeStream::WatchTopics() {
  topics_timer_ = deps_.worker->PostAfter(
      kTopicsEveryUs, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr || self->sink_ == nullptr) return;
        auto image = self->deps_.image->Load();
        if (image != self->counted_ && !self->watched_.empty()) {
          self->counted_ = image;
          auto counts = CountsOf(*image, self->watched_);
          if (counts != self->counts_) {
            self->counts_ = counts;
            self->Do(CountsChanged{std::move(counts)});
          }
        }
        self->WatchTopics();
      });
}

void ConsumeStream::End(absl::Status status) {
  const auto sink = std::exchange(sink_, nullptr);
  if (sink == nullptr) return;
  all_->Remove(this);
  if (timer_ != 0) deps_.worker->Cancel(std::exchange(timer_, 0));
  deps_.worker->Cancel(topics_timer_);
  if (const auto subscription = std::exchange(subscription_, nullptr)) {
    subscription->OnClosed();
  }
  share_ = Budget::Share();
  all_->OnEnded(status);
  sink->Finish(std::move(status));
}

// ---- Calls ----

template <class Response, class ToEvent>
PeerReply<Response> ConsumeStream::Answering(ToEvent to_event) {
  return [weak = weak_from_this(), worker = deps_.worker,
          to_event = std::move(to_event)](
             absl::StatusOr<Response> answer) mutable {
    worker->Post([weak, to_event = std::move(to_event),
                  answer = std::move(answer)]() mutable {
      if (const auto self = weak.lock()) {
        self->Do(to_event(std::move(answer)));
      }
    });
  };
}

api::CallContext ConsumeStream::Context(int64_t timeout_us) const {
  api::CallContext context = context_;
  context.deadline_us = deps_.clock->MonoMicros() + timeout_us;
  return context;
}

int64_t ConsumeStream::RoundTimeoutUs() const {
  return int64_t{core_->options().membership.rebalance_timeout_ms} * 1000 +
         kRoundMarginUs;
}

void ConsumeStream::Carry(const LookUpTopics& a) {
  watched_.insert(a.topics.begin(), a.topics.end());
  Do(TopicsFound{a.call, CountsOf(*deps_.image->Load(), a.topics)});
}

void ConsumeStream::Carry(const SendJoin& a) {
  deps_.groups->JoinGroup(
      Context(RoundTimeoutUs()), a.request,
      Answering<v1::JoinGroupResponse>(
          [call = a.call](absl::StatusOr<v1::JoinGroupResponse> answer) {
            const absl::Status status = StatusOf(answer);
            return Joined{call, status,
                          answer.ok() ? *std::move(answer)
                                      : v1::JoinGroupResponse()};
          }));
}

void ConsumeStream::Carry(const SendSync& a) {
  deps_.groups->SyncGroup(
      Context(RoundTimeoutUs()), a.request,
      Answering<v1::SyncGroupResponse>(
          [call = a.call](absl::StatusOr<v1::SyncGroupResponse> answer) {
            const absl::Status status = StatusOf(answer);
            return Synced{call, status,
                          answer.ok() ? answer->assignment() : std::string()};
          }));
}

void ConsumeStream::Carry(const SendHeartbeat& a) {
  deps_.groups->Heartbeat(
      Context(kCallTimeoutUs), a.request,
      Answering<v1::HeartbeatResponse>(
          [call = a.call](absl::StatusOr<v1::HeartbeatResponse> answer) {
            return HeartbeatAnswered{call, StatusOf(answer)};
          }));
}

void ConsumeStream::Carry(const SendLeave& a) {
  // Whatever it was: a coordinator that does not know forgets by itself.
  deps_.groups->LeaveGroup(
      Context(kCallTimeoutUs), a.request,
      Answering<v1::LeaveGroupResponse>(
          [call = a.call](const absl::StatusOr<v1::LeaveGroupResponse>&) {
            return LeaveAnswered{call};
          }));
}

void ConsumeStream::Carry(const SendCommit& a) {
  v1::CommitOffsetsRequest request = a.request;
  if (a.of_records) {
    for (v1::OffsetCommit& offset : *request.mutable_offsets()) {
      IdentifyTopic(offset);
    }
  }
  deps_.groups->CommitOffsets(
      Context(kCallTimeoutUs), std::move(request),
      Answering<v1::CommitOffsetsResponse>(
          [call = a.call](absl::StatusOr<v1::CommitOffsetsResponse> answer) {
            return CommitAnswered{call, std::move(answer)};
          }));
}

void ConsumeStream::Carry(const SendFetchOffsets& a) {
  v1::FetchOffsetsRequest request;
  request.set_require_stable(true);
  *request.add_groups() = a.query;
  const auto image = deps_.image->Load();
  TopicIds topics;
  for (auto& of_topic : *request.mutable_groups(0)->mutable_topics()) {
    const TopicImage* topic = image->FindTopic(of_topic.topic().name());
    if (topic == nullptr) continue;
    topics[topic->name] = topic->id;
    of_topic.mutable_topic()->set_id(topic->id.ToBytes());
  }
  deps_.groups->FetchOffsets(
      Context(kCallTimeoutUs), std::move(request),
      Answering<v1::FetchOffsetsResponse>(
          [call = a.call, topics = std::move(topics)](
              absl::StatusOr<v1::FetchOffsetsResponse> answer) {
            if (!answer.ok()) return OffsetsFetched{call, answer.status(), {}};
            if (answer->groups_size() != 1) {
              return OffsetsFetched{
                  call,
                  MakeError(ErrorCode::kUnknownServerError,
                            "the coordinator answered for ",
                            answer->groups_size(), " groups"),
                  {}};
            }
            v1::GroupOffsets offsets = std::move(*answer->mutable_groups(0));
            PutNames(topics, offsets);
            return OffsetsFetched{call, std::move(offsets), topics};
          }));
}

// ---- To the client ----

void ConsumeStream::Carry(const Push& a) {
  if (a.message.has_assigned()) {
    const bool first = membership_.second.empty();
    if (first && core_->took_over()) all_->OnTookOver();
    membership_ = {core_->options().membership.group_id,
                   a.message.assigned().member_id()};
    all_->OnMember(membership_.first, membership_.second, shared_from_this());
  }
  sink_->Push({a.message, {}, {}});
}

void ConsumeStream::Carry(const PushRecords&) {
  api::SubscribeResponse& from = *current_;
  const NamedPartition& tp =
      *topics_.NameOf({from.result.topic.id, from.result.partition});
  ConsumePush push;
  v1::ConsumeRecords* records = push.message.mutable_records();
  records->mutable_topic()->set_name(tp.topic);
  records->set_topic_id(from.result.topic.id.ToBytes());
  records->set_partition(tp.partition.value());
  records->set_next_offset(from.result.next_offset.value());
  records->set_leader_epoch(from.result.leader_epoch.value());
  records->set_high_watermark(from.result.high_watermark.value());
  records->set_charged_bytes(from.charged_bytes);
  push.batches = std::move(from.result.batches);
  push.records = std::move(from.result.records);
  current_.reset();
  ++unsent_;
  all_->OnPushed(RecordsIn(push));
  sink_->Push(std::move(push));
}

void ConsumeStream::Carry(const Finish& a) {
  current_.reset();
  End(why_ended_.value_or(a.status));
}

}  // namespace sluice
