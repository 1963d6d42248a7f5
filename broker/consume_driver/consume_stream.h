// One Consume stream at work: its calls, its timer, what it reads.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "broker/consume/consume_core.h"
#include "broker/consume_driver/consume_handler.h"
#include "broker/consume_driver/partition_topics.h"

namespace sluice {

// Belongs to the worker; what comes from the edge posts there. Carries out what
// ConsumeCore decides: group calls by GroupApi (any broker, one hop), records by
// a subscription of this broker with Route::kForward, which has the byte budget
// and the turns of partitions.
class ConsumeStream final : public ConsumeSession,
                            public std::enable_shared_from_this<ConsumeStream> {
 public:
  // How long a call of the coordinator or a leader may take.
  static constexpr int64_t kCallTimeoutUs = 10'000'000;
  // A join and a sync wait for the whole group: beyond its rebalance timeout. One
  // that was lost on its way is made again then (seed 3346).
  static constexpr int64_t kRoundMarginUs = kCallTimeoutUs;
  static constexpr int64_t kTopicsEveryUs = 1'000'000;
  static constexpr int64_t kRequestsPendingMax = 1'000;
  // A connection that breaks looks half-closed for a moment: only then does one
  // see that nobody is there.
  static constexpr int64_t kHalfCloseUs = 50'000;
  // A leader that does not know an epoch may hear of it; beyond that, about half a
  // minute, the client that committed it has made it up.
  static constexpr int kCommittedEpochRefusalsMax = 32;
  // Before a broker ends: as its leaderships are handed over, and when its
  // listener has begun to close.
  static constexpr int64_t kStopPatienceUs = 1'000'000;
  static constexpr int64_t kDrainPatienceUs = 50'000;

  ConsumeStream(const ConsumeDeps& deps, std::shared_ptr<ConsumeStreams> all,
                std::shared_ptr<Random> random, api::CallContext context,
                Budget::Share share, std::shared_ptr<ConsumeSink> sink);

  void Start();

  // ---- ConsumeSession ----
  void OnRequest(v1::ConsumeRequest request) override;
  void OnDrained() override;
  void OnNoMore(absl::Status why) override;
  void OnClosed() override;

  // ---- On the worker ----
  void OnTakenOver() { Do(consume::TakenOver{}); }
  void OnBrokerStops() { Stop(kStopPatienceUs); }
  uint64_t number() const { return number_; }
  // Group and member id, once it was assigned something.
  const std::pair<std::string, std::string>& membership() const {
    return membership_;
  }
  bool revoking() const { return core_->revoking(); }
  int64_t unacknowledged_bytes() const { return core_->unacknowledged_bytes(); }

 private:
  class Records;
  struct Told {
    consume::Event event;
    std::optional<api::SubscribeResponse> records;  // of a Read
  };
  struct Read {
    TopicPartition tp;
    bool live = false;  // subscribed to
    LeaderEpoch leader_epoch = kNoLeaderEpoch;  // of what came last
    LeaderEpoch committed_epoch = kNoLeaderEpoch;  // of where it began
    int refusals = 0;  // UNKNOWN_LEADER_EPOCH
    uint64_t check = 0;  // whether its log was cut; 0: nobody is asked
  };

  void Begin();
  void Do(consume::Event event,
          std::optional<api::SubscribeResponse> records = std::nullopt);
  void SetTimer();
  void WatchTopics();
  void Stop(int64_t patience_us);
  void End(absl::Status status);

  // The broker's answer, as an event.
  template <class Response, class ToEvent>
  PeerReply<Response> Answering(ToEvent to_event);
  api::CallContext Context(int64_t timeout_us) const;
  int64_t RoundTimeoutUs() const;

  void Carry(const consume::LookUpTopics& a);
  void Carry(const consume::SendJoin& a);
  void Carry(const consume::SendSync& a);
  void Carry(const consume::SendHeartbeat& a);
  void Carry(const consume::SendLeave& a);
  void Carry(const consume::SendCommit& a);
  void Carry(const consume::SendFetchOffsets& a);
  void Carry(const consume::Push& a);
  void Carry(const consume::PushRecords& a);
  void Carry(const consume::Finish& a);

  // consume_reads.cc
  void Carry(const consume::ListOffsets& a);
  void Carry(const consume::StartReading& a);
  void Carry(const consume::StopReading& a);
  void Subscribe(Read& read, const consume::Start& start);
  void Carry(const consume::GrantReading& a);
  void AskSoon();
  void Ask();
  void OnRecords(api::SubscribeResponse response);
  void OnRecordsEnded(const absl::Status& why);
  void Discard(int64_t bytes);
  consume::TopicNames NameTopics(v1::ConsumeRequest& request) const;
  void IdentifyTopic(v1::OffsetCommit& offset) const;
  std::optional<TopicPartition> Resolve(
      const consume::NamedPartition& tp) const;
  std::optional<LeaderEpoch> EpochToReadBy(const TopicPartition& tp,
                                           const Read& read) const;
  // consume_cuts.cc
  void AskWhetherCut(const consume::NamedPartition& tp, Read& read,
                     Offset start, LeaderEpoch epoch);
  void OnEpochEnd(const consume::NamedPartition& tp, uint64_t check,
                  Offset start,
                  const api::OffsetForLeaderEpochResult& end);

  const ConsumeDeps deps_;
  const std::shared_ptr<ConsumeStreams> all_;
  const std::shared_ptr<Random> random_;
  const api::CallContext context_;
  const std::shared_ptr<Budget> pending_;  // requests on their way here

  // On the worker.
  Budget::Share share_;
  uint64_t number_ = 0;  // in all_
  std::shared_ptr<ConsumeSink> sink_;  // null: the stream is over
  std::unique_ptr<consume::ConsumeCore> core_;
  std::deque<Told> told_;
  bool stepping_ = false;
  std::optional<api::SubscribeResponse> current_;  // of the Read that is told
  TimerId timer_ = 0;
  TimerId topics_timer_ = 0;
  std::set<std::string> watched_;
  std::shared_ptr<const MetadataImage> counted_;  // watched_, as was told
  consumer::PartitionCounts counts_;
  std::pair<std::string, std::string> membership_;
  std::optional<absl::Status> why_ended_;

  // ---- What is read ----
  uint64_t last_check_ = 0;
  std::shared_ptr<SubscribeSession> subscription_;  // null: not yet
  // What it is asked next, all that comes up meanwhile at once.
  api::SubscribeRequest ask_;
  bool asking_ = false;
  std::map<consume::NamedPartition, Read> reads_;
  // Also of what is not read any more: it may be acknowledged later.
  PartitionTopics topics_;
  // Stopped, and the subscription has not heard of it: what it pushes of them
  // is of before.
  std::map<TopicPartition, int> stopping_;
  int64_t unsent_ = 0;  // records that may not be on the wire yet
};

}  // namespace sluice
