// One Subscribe stream: its partitions, its credit, and whose turn it is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "broker/broker_api.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/leader_calls.h"
#include "broker/handlers/subscribe_memory.h"
#include "broker/handlers/subscribe_upstream.h"
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
// A leader that knows an in-sync follower in the reader's rack, with all that
// the reader has read, ends the partition with that replica's address.
//
// What other brokers lead comes through subscriptions there, if the client asked
// for Route::kForward; it takes turns with what is read here.
//
// INVALID_REQUEST ends the stream for negative credit; BUSY for a client that
// sends faster than it is heard, or does not read while others wait for memory.
class SubscribeStream final
    : public SubscribeSession,
      public SubscribeMemory::Holder,
      public std::enable_shared_from_this<SubscribeStream> {
 public:
  static constexpr size_t kPartitionsMax = 10000;  // of one stream
  // More credit than this is not remembered.
  static constexpr int64_t kCreditBytesMax = 64 << 20;
  // Decoded, too; one batch comes whole, in the RECORDS form one record.
  static constexpr int32_t kPushBytesMax = 512 << 10;
  // Pushed and not yet on the wire: a client with much credit that does not
  // read costs this much memory and a push, not its credit. When the memory of
  // all subscriptions is short: one push (SubscribeMemory).
  static constexpr int64_t kUnsentBytesMax = 1 << 20;
  static constexpr int64_t kRequestsPendingMax = 1000;
  static constexpr int64_t kRetryUs = 50000;

  SubscribeStream(HandlerDeps deps, std::string client_id,
                  std::shared_ptr<SubscribeMemory> memory, Budget::Share share,
                  std::shared_ptr<SubscribeSink> sink);

  void OnRequest(api::SubscribeRequest request) override;
  void OnDrained() override;
  void OnClosed() override;

  void OnMemory() override;
  void OnEvicted() override;

 private:
  using Life = uint64_t;  // one subscription of one partition: never reused

  struct Subscription {
    Life life = 0;
    api::TopicRef topic;  // as it was asked for
    PartitionHost* host = nullptr;
    // The reader's; checked by the first read that succeeds, as a fetch's is.
    std::optional<LeaderEpoch> leader_epoch;
    // Where it begins, until that is known; then `next` counts.
    api::OffsetPosition start = api::OffsetPosition::kInvalid;
    Offset next;
    bool queued = false;  // in ready_
    WaitId wait = 0;
    uint64_t upstream = 0;  // read there; 0: here, at `host`
    // The leader is here, and pushes though another replica is nearer.
    bool at_leader = false;
  };
  // Came from an upstream and waits for credit.
  struct Passing {
    uint64_t upstream = 0;
    TopicPartition tp;
    Life life = 0;
    api::SubscribeResponse response;
  };

  void Handle(api::SubscribeRequest request);
  void Add(const MetadataImage& image, const api::SubscribePartition& asked);
  void Refuse(const api::SubscribePartition& asked, const absl::Status& why);
  void AddOne(const MetadataImage& image, const api::SubscribePartition& asked,
              const TopicPartition& tp);
  void Stop(const MetadataImage& image, const api::SubscribePartition& asked);
  void Remove(const TopicPartition& tp);
  Subscription* Find(const TopicPartition& tp, Life life);
  void PushError(const api::TopicRef& topic, PartitionIndex partition,
                 api::ItemError error, std::optional<api::LeaderHint> leader);

  // Finds out where it begins, or puts it in line.
  void Begin(const TopicPartition& tp, Subscription& subscription);
  void OnStart(const TopicPartition& tp, Life life, OffsetOutcome outcome);
  void Pump();
  bool MayPush() const;
  bool MayPass() const;
  // One read, if memory can be had for it.
  bool ReadNext();
  void Read(const TopicPartition& tp, const Subscription& subscription,
            int64_t bytes_max);
  void OnRead(const TopicPartition& tp, Life life, ReadOutcome outcome);
  void Fail(const TopicPartition& tp, Life life, api::ItemError error,
            std::optional<api::LeaderHint> leader);
  void FailRead(const TopicPartition& tp, Life life, ReadOutcome outcome);
  void Push(const TopicPartition& tp, Subscription& subscription,
            ReadOutcome outcome);
  void OnNearer(const TopicPartition& tp, Subscription& subscription,
                ReadOutcome outcome);
  void Wait(const TopicPartition& tp, const Subscription& subscription);
  void OnWaiting(const TopicPartition& tp, Life life, PartitionHost* host,
                 WaitId wait);
  void OnWake(const TopicPartition& tp, Life life);
  void Retry(const TopicPartition& tp, Life life);
  void End(absl::Status status);
  // Gives back all it has; null: it was over.
  std::shared_ptr<SubscribeSink> Leave();
  // ---- subscribe_forwarding.cc ----
  void AddUpstream(const LeaderCalls::Leader& leader, const TopicPartition& tp,
                   const api::SubscribePartition& asked, Subscription& added);
  std::shared_ptr<SubscribeUpstream> UpstreamFor(
      const LeaderCalls::Leader& leader, const TopicPartition& tp,
      uint64_t& id);
  void LeaveUpstream(uint64_t id, const TopicPartition& tp);
  void OnUpstreamPush(uint64_t id, api::SubscribeResponse response);
  void OnUpstreamClosed(uint64_t id, const absl::Status& why);
  void PassOn();

  const HandlerDeps deps_;
  const std::string client_id_;
  const std::shared_ptr<Budget> pending_;  // requests on their way here

  // On the worker.
  Budget::Share share_;
  std::shared_ptr<SubscribeSink> sink_;  // null: the stream is over
  bool first_ = true;
  api::Isolation isolation_ = api::Isolation::kReadUncommitted;
  api::PayloadForm form_ = api::PayloadForm::kRecords;
  api::Route route_ = api::Route::kDirect;
  std::string rack_;
  int64_t credit_bytes_ = 0;
  const std::shared_ptr<SubscribeMemory> memory_;
  std::unique_ptr<SubscribeMemory::Account> account_;  // null: over
  Life next_life_ = 1;
  std::map<TopicPartition, Subscription> subscriptions_;
  std::deque<TopicPartition> ready_;
  bool reading_ = false;
  std::map<uint64_t, std::shared_ptr<SubscribeUpstream>> upstreams_;
  uint64_t next_upstream_ = 1;
  std::deque<Passing> passing_;
  bool passed_last_ = false;  // the turn before was passing_'s
};

}  // namespace sluice
