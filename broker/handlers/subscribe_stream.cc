#include "broker/handlers/subscribe_stream.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "broker/handlers/record_decoding.h"
#include "broker/handlers/topic_resolver.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

constexpr PartitionIndex kEveryPartition{-1};

}  // namespace

SubscribeStream::SubscribeStream(HandlerDeps deps, std::string client_id,
                                 std::shared_ptr<SubscribeMemory> memory,
                                 Budget::Share share,
                                 std::shared_ptr<SubscribeSink> sink)
    : deps_(std::move(deps)),
      client_id_(std::move(client_id)),
      pending_(Budget::Of(kRequestsPendingMax)),
      share_(std::move(share)),
      sink_(std::move(sink)),
      memory_(std::move(memory)) {}

// ---- Requests ----

void SubscribeStream::OnRequest(api::SubscribeRequest request) {
  auto share = pending_->TryTake(1);
  if (!share.has_value()) {
    deps_.worker->Post([self = shared_from_this()] {
      self->End(MakeError(ErrorCode::kBusy, kRequestsPendingMax,
                          " messages of this stream have not been heard yet; "
                          "send fewer, with more credit each"));
    });
    return;
  }
  deps_.worker->Post([self = shared_from_this(), request = std::move(request),
                      share = *std::move(share)]() mutable {
    self->Handle(std::move(request));
  });
}

// What was pushed since then drains too and says so again: nothing waits for
// ever, and no more than twice the most is on its way.
void SubscribeStream::OnDrained() {
  deps_.worker->Post([self = shared_from_this()] {
    if (self->account_ != nullptr) self->account_->Release();
    self->Pump();
  });
}

void SubscribeStream::OnMemory() {
  deps_.worker->Post([self = shared_from_this()] {
    if (self->account_ == nullptr) return;
    if (!self->ReadNext()) self->account_->Pass();
    self->Pump();
  });
}

// A status would wait behind what is not read, and that would stay.
void SubscribeStream::OnEvicted() {
  absl::Status why = MakeError(
      ErrorCode::kBusy, "this stream has not read ", account_->bytes(),
      " bytes for ", SubscribeMemory::kStalledUs / 1'000'000,
      " s, and others wait for memory of the ", memory_->budget().max(),
      " bytes that subscriptions have on this broker; open it again and read "
      "on, or give less credit");
  if (const auto sink = Leave()) sink->Cut(std::move(why));
}

void SubscribeStream::OnClosed() {
  deps_.worker->Post(
      [self = shared_from_this()] { self->End(absl::OkStatus()); });
}

void SubscribeStream::End(absl::Status status) {
  if (const auto sink = Leave()) sink->Finish(std::move(status));
}

std::shared_ptr<SubscribeSink> SubscribeStream::Leave() {
  const auto sink = std::exchange(sink_, nullptr);
  if (sink == nullptr) return nullptr;
  while (!subscriptions_.empty()) Remove(subscriptions_.begin()->first);
  ready_.clear();
  passing_.clear();
  account_.reset();
  share_ = Budget::Share();
  return sink;
}

void SubscribeStream::Handle(api::SubscribeRequest request) {
  if (sink_ == nullptr) return;
  if (request.credit_bytes < 0) {
    End(MakeError(ErrorCode::kInvalidRequest, "credit_bytes ",
                  request.credit_bytes, "; credit is only ever added"));
    return;
  }
  if (std::exchange(first_, false)) {
    if (request.rack.size() > kRackBytesMax) {
      End(MakeError(ErrorCode::kInvalidRequest, "a rack of ",
                    request.rack.size(), " bytes; at most ", kRackBytesMax));
      return;
    }
    rack_ = std::move(request.rack);
    isolation_ = request.isolation;
    form_ = request.form;
    route_ = request.route;
    account_ = std::make_unique<SubscribeMemory::Account>(memory_.get(), this);
  }
  // Neither addend is above the bound by much: no overflow.
  credit_bytes_ = std::min(
      credit_bytes_ + std::min(request.credit_bytes, kCreditBytesMax),
      kCreditBytesMax);
  const std::shared_ptr<const MetadataImage> image = deps_.image->Load();
  for (const auto& asked : request.stop) Stop(*image, asked);
  for (const auto& asked : request.partitions) Add(*image, asked);
  Pump();
}

void SubscribeStream::Refuse(const api::SubscribePartition& asked,
                             const absl::Status& why) {
  PushError(asked.topic, asked.partition, api::ItemError(why), std::nullopt);
}

void SubscribeStream::Add(const MetadataImage& image,
                          const api::SubscribePartition& asked) {
  const auto topic = ResolveTopic(image, asked.topic);
  if (!topic.ok()) return Refuse(asked, topic.status());
  if (asked.partition != kEveryPartition) {
    const auto tp = ResolvePartition(**topic, asked.partition);
    return tp.ok() ? AddOne(image, asked, *tp) : Refuse(asked, tp.status());
  }
  if (asked.leader_epoch.has_value()) {
    return Refuse(asked, MakeError(ErrorCode::kInvalidRequest, "leader_epoch ",
                                   *asked.leader_epoch, " for every partition; "
                                   "each has its own: name them one by one"));
  }
  for (const auto& [index, partition] : (*topic)->partitions) {
    AddOne(image, asked, {(*topic)->id, index});
  }
}

void SubscribeStream::AddOne(const MetadataImage& image,
                             const api::SubscribePartition& asked,
                             const TopicPartition& tp) {
  Remove(tp);  // it begins anew
  if (subscriptions_.size() >= kPartitionsMax) {
    PushError(asked.topic, tp.partition,
              api::ItemError(MakeError(
                  ErrorCode::kInvalidRequest, "this stream has ",
                  kPartitionsMax, " partitions, the most it may have; open "
                  "another")),
              std::nullopt);
    return;
  }
  Subscription& added = subscriptions_[tp];
  added.life = next_life_++;
  added.topic = asked.topic;
  if (route_ == api::Route::kForward && deps_.leaders != nullptr) {
    const auto leader = deps_.leaders->Elsewhere(image, tp);
    if (leader.has_value()) return AddUpstream(*leader, tp, asked, added);
  }
  added.host = deps_.hosts->HostOf(tp);
  added.leader_epoch = asked.leader_epoch;
  if (const Offset* offset = std::get_if<Offset>(&asked.start)) {
    added.next = *offset;
  } else {
    added.start = std::get<api::StartPosition>(asked.start) ==
                          api::StartPosition::kLatest
                      ? api::OffsetPosition::kLatest
                      : api::OffsetPosition::kEarliest;
  }
  Begin(tp, added);
}

void SubscribeStream::Stop(const MetadataImage& image,
                           const api::SubscribePartition& asked) {
  const auto topic = ResolveTopic(image, asked.topic);
  if (!topic.ok()) return;  // its subscriptions end by themselves
  if (asked.partition != kEveryPartition) {
    Remove({(*topic)->id, asked.partition});
    return;
  }
  for (const auto& [index, partition] : (*topic)->partitions) {
    Remove({(*topic)->id, index});
  }
}

void SubscribeStream::Remove(const TopicPartition& tp) {
  const auto found = subscriptions_.find(tp);
  if (found == subscriptions_.end()) return;
  const Subscription& gone = found->second;
  if (gone.wait != 0) {
    gone.host->executor()->Post([host = gone.host, tp, wait = gone.wait] {
      host->CancelWait(tp, wait);
    });
  }
  const uint64_t upstream = gone.upstream;
  // Its place in ready_ and passing_ is passed over.
  subscriptions_.erase(found);
  if (upstream != 0) LeaveUpstream(upstream, tp);
}

SubscribeStream::Subscription* SubscribeStream::Find(const TopicPartition& tp,
                                                     Life life) {
  const auto found = subscriptions_.find(tp);
  return found == subscriptions_.end() || found->second.life != life
             ? nullptr
             : &found->second;
}

// ---- Reading and pushing ----

void SubscribeStream::Begin(const TopicPartition& tp,
                            Subscription& subscription) {
  if (subscription.start == api::OffsetPosition::kInvalid) {
    if (!std::exchange(subscription.queued, true)) ready_.push_back(tp);
    return;
  }
  OffsetRequest request;
  request.tp = tp;
  request.position = subscription.start;
  request.leader_epoch = subscription.leader_epoch;
  request.isolation = isolation_;
  subscription.host->executor()->Post([self = shared_from_this(),
                                       host = subscription.host, request,
                                       life = subscription.life] {
    self->deps_.worker->Post(
        [self, request, life, outcome = host->FindOffset(request)]() mutable {
          self->OnStart(request.tp, life, std::move(outcome));
        });
  });
}

void SubscribeStream::OnStart(const TopicPartition& tp, Life life,
                              OffsetOutcome outcome) {
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr) return;
  if (!outcome.error.ok()) {
    return Fail(tp, life, std::move(outcome.error), std::move(outcome.leader));
  }
  subscription->start = api::OffsetPosition::kInvalid;
  subscription->next = outcome.offset;
  Begin(tp, *subscription);
  Pump();
}

bool SubscribeStream::MayPush() const {
  return sink_ != nullptr && account_ != nullptr && credit_bytes_ > 0 &&
         account_->bytes() < kUnsentBytesMax;
}

// What is read meanwhile is pushed when it comes, and wants credit then: the
// balance goes below zero by one push, not by one of each kind.
bool SubscribeStream::MayPass() const {
  return !passing_.empty() && account_->MayPush() &&
         (!reading_ ||
          credit_bytes_ > passing_.front().response.charged_bytes);
}

// By turns, where both have something.
void SubscribeStream::Pump() {
  while (MayPush()) {
    const bool may_pass = MayPass();
    const bool pass = may_pass && (reading_ || ready_.empty() || !passed_last_);
    passed_last_ = pass;
    if (pass) {
      PassOn();
    } else if (!ReadNext() && !may_pass) {
      return;
    }
  }
}

bool SubscribeStream::ReadNext() {
  if (reading_ || !MayPush()) return false;
  while (!ready_.empty()) {
    const TopicPartition tp = ready_.front();
    const auto found = subscriptions_.find(tp);
    if (found == subscriptions_.end() || !found->second.queued) {
      ready_.pop_front();
      continue;
    }
    const int64_t bytes_max =
        account_->Take(std::min<int64_t>(credit_bytes_, kPushBytesMax));
    if (bytes_max == 0) return false;
    ready_.pop_front();
    found->second.queued = false;
    Read(tp, found->second, bytes_max);
    return true;
  }
  return false;
}

void SubscribeStream::Read(const TopicPartition& tp,
                           const Subscription& subscription,
                           int64_t bytes_max) {
  reading_ = true;
  ReadRequest request;
  request.tp = tp;
  request.offset = subscription.next;
  request.leader_epoch = subscription.leader_epoch;
  request.max_bytes = static_cast<int32_t>(bytes_max);
  request.isolation = isolation_;
  if (!subscription.at_leader) request.rack = rack_;
  subscription.host->executor()->Post([self = shared_from_this(), request,
                                       host = subscription.host,
                                       life = subscription.life] {
    host->Read(request, [self, tp = request.tp,
                         life](ReadOutcome outcome) mutable {
      self->deps_.worker->Post(
          [self, tp, life, outcome = std::move(outcome)]() mutable {
            self->OnRead(tp, life, std::move(outcome));
          });
    });
  });
}

void SubscribeStream::OnRead(const TopicPartition& tp, Life life,
                             ReadOutcome outcome) {
  reading_ = false;
  if (account_ == nullptr) return;  // over
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr || !outcome.error.ok() ||
      outcome.batches.empty()) {
    account_->Settle(0);
  }
  if (subscription != nullptr) {
    if (outcome.error.ok()) subscription->leader_epoch.reset();
    if (!outcome.error.ok()) {
      FailRead(tp, life, std::move(outcome));
    } else if (outcome.preferred_replica.has_value()) {
      OnNearer(tp, *subscription, std::move(outcome));
    } else if (outcome.batches.empty()) {
      subscription->next = std::max(subscription->next, outcome.next_offset);
      Wait(tp, *subscription);
    } else {
      Push(tp, *subscription, std::move(outcome));
    }
  }
  Pump();
}

void SubscribeStream::Fail(const TopicPartition& tp, Life life,
                           api::ItemError error,
                           std::optional<api::LeaderHint> leader) {
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr) return;
  if (error.code == ErrorCode::kOffsetNotAvailable) return Retry(tp, life);
  const api::TopicRef topic = subscription->topic;
  Remove(tp);
  PushError(topic, tp.partition, std::move(error), std::move(leader));
}

// What a follower does not have is the leader's to give: nothing here says
// when, or whether, it will.
void SubscribeStream::FailRead(const TopicPartition& tp, Life life,
                               ReadOutcome outcome) {
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr ||
      !(outcome.follower &&
        outcome.error.code == ErrorCode::kOffsetNotAvailable)) {
    return Fail(tp, life, std::move(outcome.error), std::move(outcome.leader));
  }
  const api::TopicRef topic = subscription->topic;
  Remove(tp);
  PushError(topic, tp.partition, std::move(outcome.error),
            std::move(outcome.leader));
}

// Who asked this broker to serve it, whoever leads, goes nowhere else.
void SubscribeStream::OnNearer(const TopicPartition& tp,
                               Subscription& subscription,
                               ReadOutcome outcome) {
  if (route_ == api::Route::kForward || MUTANT(kNearerReplicaUntold)) {
    subscription.at_leader = true;
    return Begin(tp, subscription);
  }
  api::SubscribeResponse response;
  api::FetchResult& result = response.result;
  result.topic = subscription.topic;
  result.partition = tp.partition;
  result.high_watermark = outcome.high_watermark;
  result.log_start_offset = outcome.log_start_offset;
  result.next_offset = subscription.next;
  result.leader_epoch = outcome.leader_epoch;
  result.preferred_replica = outcome.preferred_replica->id;
  result.preferred_endpoint = std::move(outcome.preferred_replica->endpoint);
  Remove(tp);
  sink_->Push(std::move(response));
}

void SubscribeStream::PushError(const api::TopicRef& topic,
                                PartitionIndex partition, api::ItemError error,
                                std::optional<api::LeaderHint> leader) {
  api::SubscribeResponse response;
  response.result.topic = topic;
  response.result.partition = partition;
  response.result.error = std::move(error);
  response.result.leader = std::move(leader);
  sink_->Push(std::move(response));
}

void SubscribeStream::Push(const TopicPartition& tp,
                           Subscription& subscription, ReadOutcome outcome) {
  api::SubscribeResponse response;
  api::FetchResult& result = response.result;
  result.topic = subscription.topic;
  result.partition = tp.partition;
  result.high_watermark = outcome.high_watermark;
  result.last_stable_offset = outcome.last_stable_offset;
  result.log_start_offset = outcome.log_start_offset;
  result.next_offset = outcome.next_offset;
  result.leader_epoch = outcome.leader_epoch;
  result.batches = std::move(outcome.batches);
  response.charged_bytes = static_cast<int64_t>(outcome.batches_bytes);
  if (form_ == api::PayloadForm::kRecords) {
    response.charged_bytes =
        DecodeInto(result, subscription.next, account_->taken());
    if (!result.error.ok()) {
      account_->Settle(0);
      const Life life = subscription.life;
      return Fail(tp, life, std::move(result.error), std::nullopt);
    }
  }
  credit_bytes_ -= response.charged_bytes;
  account_->Settle(response.charged_bytes);
  subscription.next = result.next_offset;
  Begin(tp, subscription);
  const bool nothing = result.batches.empty() && result.records.empty();
  if (!nothing) sink_->Push(std::move(response));
}

// ---- Waiting ----

void SubscribeStream::Wait(const TopicPartition& tp,
                           const Subscription& subscription) {
  subscription.host->executor()->Post(
      [self = shared_from_this(), tp, host = subscription.host,
       next = subscription.next, life = subscription.life] {
        // Weak: a wait may stand for ever, the stream need not.
        const WaitId wait = host->WaitForProgress(
            tp, next,
            [weak = self->weak_from_this(), worker = self->deps_.worker, tp,
             life] {
              worker->Post([weak, tp, life] {
                if (const auto stream = weak.lock()) stream->OnWake(tp, life);
              });
            });
        self->deps_.worker->Post([self, tp, life, host, wait] {
          self->OnWaiting(tp, life, host, wait);
        });
      });
}

void SubscribeStream::OnWaiting(const TopicPartition& tp, Life life,
                                PartitionHost* host, WaitId wait) {
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr) {  // stopped meanwhile
    if (wait == 0) return;
    host->executor()->Post([host, tp, wait] { host->CancelWait(tp, wait); });
  } else if (wait == 0) {  // no room among the waits: look again soon
    Retry(tp, life);
  } else {
    subscription->wait = wait;
  }
}

void SubscribeStream::OnWake(const TopicPartition& tp, Life life) {
  Subscription* subscription = Find(tp, life);
  if (subscription == nullptr) return;
  subscription->wait = 0;
  Begin(tp, *subscription);
  Pump();
}

void SubscribeStream::Retry(const TopicPartition& tp, Life life) {
  deps_.worker->PostAfter(
      kRetryUs, [weak = weak_from_this(), tp, life] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        Subscription* subscription = self->Find(tp, life);
        if (subscription == nullptr) return;
        self->Begin(tp, *subscription);
        self->Pump();
      });
}

}  // namespace sluice
