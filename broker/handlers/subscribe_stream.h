// One Subscribe stream: its partitions, its credit, and whose turn it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/partition_host.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Belongs to the worker; OnRequest and OnClosed post there. Partitions with
// data take turns, one read at a time, while credit is left; so the balance
// goes below zero by one batch at most. A partition without data waits at its
// shard. An error ends its partition; OFFSET_NOT_AVAILABLE (a new leader does
// not know yet how much is committed) is waited out.
//
// INVALID_REQUEST ends the stream for negative credit; BUSY for a client that
// sends faster than it is heard.
class SubscribeStream final
    : public SubscribeSession,
      public std::enable_shared_from_this<SubscribeStream> {
 public:
  static constexpr size_t kPartitionsMax = 10000;  // of one stream
  // More credit than this is not remembered.
  static constexpr int64_t kCreditBytesMax = 64 << 20;
  static constexpr int32_t kPushBytesMax = 1 << 20;
  // Decoded; a push in the RECORDS form holds one record at least.
  static constexpr int64_t kPushDecodedBytesMax = 4 << 20;
  // Pushed and not yet on the wire: a client with much credit that does not
  // read costs this much memory, not its credit.
  static constexpr int64_t kUnsentBytesMax = 4 << 20;
  static constexpr int64_t kRequestsPendingMax = 1000;
  static constexpr int64_t kRetryUs = 50000;

  SubscribeStream(HandlerDeps deps, Budget::Share share,
                  std::shared_ptr<SubscribeSink> sink);

  void OnRequest(api::SubscribeRequest request) override;
  void OnDrained() override;
  void OnClosed() override;

 private:
  using Life = uint64_t;  // one subscription of one partition: never reused

  struct Subscription {
    Life life = 0;
    api::TopicRef topic;  // as it was asked for
    PartitionHost* host = nullptr;
    // Where it begins, until that is known; then `next` counts.
    api::OffsetPosition start = api::OffsetPosition::kInvalid;
    Offset next;
    bool queued = false;  // in ready_
    WaitId wait = 0;
  };

  void Handle(api::SubscribeRequest request);
  void Add(const MetadataImage& image, const api::SubscribePartition& asked);
  void AddOne(const api::SubscribePartition& asked, const TopicPartition& tp);
  void Stop(const MetadataImage& image, const api::SubscribePartition& asked);
  void Remove(const TopicPartition& tp);
  Subscription* Find(const TopicPartition& tp, Life life);
  void PushError(const api::TopicRef& topic, PartitionIndex partition,
                 api::ItemError error, std::optional<api::LeaderHint> leader);

  // Finds out where it begins, or puts it in line.
  void Begin(const TopicPartition& tp, Subscription& subscription);
  void OnStart(const TopicPartition& tp, Life life, OffsetOutcome outcome);
  void Pump();
  void Read(const TopicPartition& tp, const Subscription& subscription);
  void OnRead(const TopicPartition& tp, Life life, ReadOutcome outcome);
  void Fail(const TopicPartition& tp, Life life, api::ItemError error,
            std::optional<api::LeaderHint> leader);
  void Push(const TopicPartition& tp, Subscription& subscription,
            ReadOutcome outcome);
  void Wait(const TopicPartition& tp, const Subscription& subscription);
  void OnWaiting(const TopicPartition& tp, Life life, PartitionHost* host,
                 WaitId wait);
  void OnWake(const TopicPartition& tp, Life life);
  void Retry(const TopicPartition& tp, Life life);
  void End(absl::Status status);

  const HandlerDeps deps_;
  const std::shared_ptr<Budget> pending_;  // requests on their way here

  // On the worker.
  Budget::Share share_;
  std::shared_ptr<SubscribeSink> sink_;  // null: the stream is over
  bool first_ = true;
  api::Isolation isolation_ = api::Isolation::kReadUncommitted;
  api::PayloadForm form_ = api::PayloadForm::kRecords;
  int64_t credit_bytes_ = 0;
  int64_t unsent_bytes_ = 0;  // since the last OnDrained
  Life next_life_ = 1;
  std::map<TopicPartition, Subscription> subscriptions_;
  std::deque<TopicPartition> ready_;
  bool reading_ = false;
};

}  // namespace sluice
