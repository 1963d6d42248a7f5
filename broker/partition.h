// One replica of a partition on this broker: a ReplicaCore that decides and a
// Log that holds the bytes. This is the thin part between them: it feeds
// facts in, carries actions out, and completes those who wait.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/offset_ages.h"
#include "broker/partition_host.h"
#include "broker/purgatory.h"
#include "broker/replica/replica_core.h"
#include "broker/replica_observer.h"
#include "broker/replication/asked_questions.h"
#include "broker/replication/replica_question.h"
#include "broker/shard_context.h"
#include "broker/waiters.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "storage/batch_validation.h"
#include "storage/log.h"

namespace sluice {

struct TimeLookup;

// Owned by its shard; everything runs on the shard's executor. Destroying it
// drops who waits without an answer, as a dying process does: Close or
// Interrupt first. Callbacks that are under way then find it gone.
class Partition final : public ShipSource, public ObservedReplica {
 public:
  struct Deps {
    ShardContext* shard = nullptr;
    TopicPartition tp;
    std::string topic_name;
    LogDirectory* directory = nullptr;
    std::unique_ptr<Log> log;
    Offset high_watermark;  // recovered
    bool lossy = false;     // likewise
    int64_t lag_time_max_us = 0;
    int64_t producer_expiration_us = 0;
    std::unique_ptr<ReplicaObserver> observer;  // may be null
  };

  // In memory mode nobody waits for a sync; one every so often (or as
  // flush.messages and flush.ms say) bounds what a recovery has to scan.
  static constexpr int64_t kMemorySyncEveryBytes = 256 << 20;

  // A leader whose disk has failed every read for so long gives the replica up:
  // as soon as a broker that does not answer would lose it.
  static constexpr int64_t kUnreadableUs = 3'000'000;

  // A full table of producers gives up one that has been silent for so long:
  // longer than a client goes on trying (its delivery timeout, 2 minutes by
  // default), so that no retry of it can come as a new batch.
  static constexpr int64_t kProducerSilentUs = 600'000'000;

  // Trims that wait for the controllers; more are BUSY.
  static constexpr size_t kTrimsWaitingMax = 100;

  Partition(Deps deps, const TopicSettings& settings);
  ~Partition() override;

  const TopicPartition& tp() const { return tp_; }

  // ---- Control ----
  void OnMetadata(const MetadataImage& image, const PartitionImage& partition,
                  const TopicSettings& settings);
  // Of a replica that takes part in nothing any more: who is to be named.
  void NoteLeader(const PartitionImage& partition);
  void OnIsrDecision(const IsrDecision& decision);
  void OnLogStartDecision(const LogStartDecision& decision);
  // Every 100 ms or so: lag, deadlines, producers that went away.
  void Tick(int64_t now_us);
  // Marks that changed since the last call; nullopt: none did, or a cut is
  // under way.
  std::optional<PartitionMarks> TakeChangedMarks();

  // What an election of the best log would know of this one, which stands
  // still while nobody leads; nullopt: not yet, a cut is under way.
  std::optional<CandidateLog> LogNow() const;

  // Answers everyone who waits: the partition goes away, or this broker.
  // Nothing is appended or decided afterwards.
  void Close();
  // After Close: what a group commit has to cover for all of the log to be
  // durable. REPLICA_FAILED: it must not pass for cleanly closed.
  absl::StatusOr<Unsynced> TakeForClose();
  // That group commit is done.
  void FinishClose(const Unsynced& synced);

  // ---- Requests (PartitionHost) ----
  using AppendDone = absl::AnyInvocable<void(AppendOutcome)>;
  using ReadDone = absl::AnyInvocable<void(ReadOutcome)>;
  void Append(AppendRequest request, Task ordered, AppendDone done);
  void Read(const ReadRequest& request, ReadDone done);
  OffsetOutcome FindOffset(const OffsetRequest& request);
  // Looks at the lookup's next piece, or answers it. True: `looked` will run,
  // with whether there is more to look at; an answered lookup has none.
  bool LookOn(const std::shared_ptr<TimeLookup>& lookup,
              absl::AnyInvocable<void(bool more)> looked);
  EpochEndOutcome FindEpochEnd(const EpochEndRequest& request) const;
  using TrimDone = absl::AnyInvocable<void(TrimOutcome)>;
  void Trim(const TrimRequest& request, TrimDone done);
  WaitId WaitForProgress(Offset offset, Task wake);
  void CancelWait(WaitId wait) { waiters_.Cancel(wait); }
  v1::PartitionLog DescribeLog() const;

  // ---- As leader: the followers' frames ----
  void OnAdd(const FollowerSession& session, const AddReplica& add);
  void OnAck(const FollowerSession& session, const AckReplica& ack);
  void OnRemove(const FollowerSession& session, const RemoveReplica& remove);
  void OnSessionClosed(NodeId broker, StreamKind kind);

  // ---- As follower: the leader's frames ----
  void OnAddAnswer(const LeaderLink& link, const AddAnswer& answer);
  void OnData(const LeaderLink& link, ReplicaData data);
  void OnHighWatermark(const LeaderLink& link, const HighWatermarkMoved& moved);
  void OnRemoved(const LeaderLink& link, const ReplicaRemoved& removed);
  // It goes on by another stream.
  void OnMoved(const LeaderLink& link, const ReplicaMoved& moved);
  void OnLinkOpen(const LeaderLink& link);
  void OnLinkClosed(const LeaderLink& link);

  // ---- ShipSource, ObservedReplica ----
  Offset leo() const override { return log_->leo(); }
  Offset high_watermark() const override { return core_.high_watermark(); }
  Offset log_start() const override { return log_->log_start(); }
  bool IsInSync(NodeId broker) const override {
    return Contains(isr_, broker);
  }
  std::optional<ReadResult> ReadTail(Offset from, int64_t bytes_max) override;
  void ReadDisk(Offset from, int64_t bytes_max,
                absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done)
      override;

  // ---- ObservedReplica: partition_observed.cc ----
  Offset durable_leo() const override { return log_->durable_leo(); }
  const EpochHistory& epochs() const override { return log_->epochs(); }
  const MetadataImage& image() const override { return *shard_->image; }
  LeaderEpoch leader_epoch() const override { return leader_epoch_; }
  bool serves_as_leader() const override;
  Offset epoch_start() const override { return core_.epoch_start(); }
  api::LeaderHint leader_hint() const override;
  void ReadLog(Offset from, Offset upto, int64_t bytes_max,
               absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done)
      override;
  void AppendOwn(AppendRequest request, AppendDone done) override;
  void OnTopicsRemoved();

  // ---- Facts ----
  bool leads() const { return core_.leads() && !failed_; }
  bool failed() const { return failed_; }
  const std::string& failure() const { return failure_; }  // why; "": it has not
  // It failed for its bytes, not for what its leader says: it may be filled
  // again from nothing once it is neither in the ISR nor in the ELR.
  bool corrupt() const { return corrupt_; }
  // A cut of the log is under way.
  bool cutting() const { return cut_.has_value(); }
  // Whether the next start takes this log for one that lost records (ST8).
  bool lossy_on_disk() const { return lossy_on_disk_; }
  LogDirectory* directory() const { return directory_; }
  const Log& log() const { return *log_; }
  const replica::ReplicaCore& core() const { return core_; }

 private:
  struct Validation {
    absl::StatusOr<ProducedFacts> facts;
    std::vector<RecordFault> faults;
  };
  struct Produce {
    AppendRequest request;
    Task ordered;
    AppendDone done;
  };
  // Appended and not yet asked to be synced.
  struct NotSynced {
    int64_t bytes = 0;
    int64_t records = 0;
    int64_t since_us = 0;  // with bytes
  };
  struct Cut {
    Offset target;
    bool reset = false;  // drop all, go on at target
    std::string why;
  };

  // ---- partition.cc ----
  // Feeds the core and carries out what it answers. Called again by what it
  // completes, the event waits its turn: actions stay in order.
  void Step(replica::Event event);
  void Carry(replica::Action& action);
  void OnHighWatermarkMoved(Offset hw);
  void OnBecameLeader();
  void OnLeadershipLost();
  void Propose(const replica::ProposeIsr& proposal);
  void Interrupt();
  void Fail(const std::string& why, bool corrupt);
  void OnLogError(const absl::Status& why);
  std::string name() const;

  // ---- partition_observed.cc ----
  void TellObserver();
  void TellObserverClosed();

  // ---- partition_durability.cc ----
  PartitionMarks Marks() const;
  void PersistEpochStart(LeaderEpoch epoch);
  void AfterAppend(const AppendInfo& info, std::vector<EpochStart> epochs);
  void NoteUnsynced(const AppendInfo& info);
  bool FlushIsDue() const;
  void RequestSync();
  void SyncThen(Unsynced unsynced, Task then);
  Unsynced TakeAllUnsynced();
  void BeginCut(Cut cut);
  void CutLog(const Cut& cut);
  void NoteCut(const Cut& cut, Offset from, Offset to, LeaderEpoch last_epoch);
  void FinishCut(Offset leo);
  void PersistWhole();

  // ---- partition_trim.cc ----
  void AdvanceLogStart(Offset start);
  // Whether a batch of this log begins where the partition's log starts; asked
  // of who is about to lead it, with a log that starts earlier.
  bool BeginsToLeadAt(const PartitionImage& partition);
  absl::StatusOr<Offset> JudgeTrim(const TrimRequest& request) const;
  TrimOutcome TrimFacts() const;
  TrimOutcome RefuseTrim(const absl::Status& why) const;
  void FindBatchStart(Offset offset,
                      absl::AnyInvocable<void(absl::StatusOr<Offset>)> done);
  void TrimTo(const TrimRequest& request, Offset to, TrimDone done);
  void AskToRecord(Offset start, int64_t deadline_us);
  TrimOutcome EndOfTrim(Purgatory::End end, Offset start) const;
  absl::Status WhyNotTrimmed(Purgatory::End end, Offset start) const;

  // ---- partition_following.cc ----
  void SendAdd(const replica::SendAdd& add);
  void SendAck(const replica::SendAck& ack);
  void NoteSilentLeader(NodeId leader);
  bool Answers(const LeaderLink& link, AddNumber number) const;
  bool Takes(const LeaderLink& link, AddNumber number) const;
  bool MayTake(const LeaderLink& link, const ReplicaData& data);
  void RefuseData(const LeaderLink& link, const Question& question,
                  const absl::Status& why);

  // ---- partition_leading.cc ----
  void AcceptFollower(const replica::AcceptFollower& a);
  void DivergeFollower(const replica::DivergeFollower& a);
  void RejectFollower(const replica::RejectFollower& a);
  void DropFollower(const replica::DropFollower& a);
  AddAnswer AnswerTo(NodeId follower, LeaderEpoch epoch,
                     Offset fetch_offset) const;
  void SendAnswer(NodeId follower, AddAnswer answer);
  // Of the stream that it asked on last.
  ReplicaShipper* ShipperTo(NodeId follower) const;

  // ---- partition_requests.cc ----
  absl::Status CheckLeads(const std::optional<LeaderEpoch>& epoch) const;
  absl::Status FailedHere() const;
  absl::Status ForClients(const absl::Status& why) const;
  void NoteRefusedAppend(const absl::Status& why);
  absl::Status CheckAppend(const AppendRequest& request) const;
  std::optional<api::LeaderHint> HintWith(const api::ItemError& error) const;
  static Validation Validate(std::string_view payload,
                             const ProduceLimits& limits);
  static void AnswerGone(Produce produce);
  void Refuse(Produce produce, const absl::Status& why,
              std::vector<RecordFault> faults = {});
  void AppendValidated(Produce produce, Validation validation);
  void AwaitAcknowledgement(Produce& produce, AppendOutcome outcome,
                            Offset next);
  // ---- partition_producers.cc ----
  absl::StatusOr<std::optional<StoredRun>> JudgeSequences(
      const AppendRequest& request) const;
  void AnswerStored(Produce produce, const StoredRun& run,
                    int32_t record_count);
  void ForgetSilentProducers(int64_t now_us);

  // ---- partition_times.cc ----
  absl::Status CheckLookup(const TimeLookup& lookup) const;
  void AnswerLookup(TimeLookup& lookup, const absl::Status& why);
  void LookThere(const std::shared_ptr<TimeLookup>& lookup, ReadPlan plan,
                 absl::AnyInvocable<void(bool more)> looked);

  // ---- partition_requests.cc, on ----
  absl::Status CommittedUnknown() const;
  std::string Promise() const;
  api::ItemError UnknownOutcome(Purgatory::End end, bool all,
                                Offset base) const;

  // ---- partition_reads.cc ----
  // Readers with a rack may read a follower that is in sync.
  bool ServesAsFollower() const;
  absl::Status CheckReads(const ReadRequest& request) const;
  std::optional<PreferredReplica> ReplicaNear(const ReadRequest& request) const;
  absl::Status JudgeRead(const ReadRequest& request, Offset limit,
                         std::optional<EpochEnd>& diverging) const;
  absl::Status JudgeFollowerRead(const ReadRequest& request,
                                 Offset limit) const;
  absl::Status NotCommittedYet(Offset offset, Offset limit) const;
  std::optional<EpochEnd> Divergence(Offset offset, LeaderEpoch epoch) const;
  void ReadUpTo(Offset limit, int64_t room, ReadOutcome outcome, ReadDone done);
  void ReadDiskUpTo(
      Offset from, Offset upto, int64_t bytes_max,
      absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done);
  absl::Status JudgeFailedRead(const absl::Status& failed, uint64_t generation);
  bool IsUnreadable();

  ShardContext* const shard_;
  const TopicPartition tp_;
  const std::string topic_name_;
  LogDirectory* const directory_;
  std::unique_ptr<Log> log_;
  replica::ReplicaCore core_;
  TopicSettings settings_;
  // Of the newest metadata.
  NodeId leader_ = kNoNode;
  LeaderEpoch leader_epoch_ = kNoLeaderEpoch;
  std::vector<NodeId> isr_;
  ReplicaQuestion question_;  // as follower
  AskedQuestions asked_;      // as leader

  std::deque<replica::Event> events_;  // behind the one in hand
  bool stepping_ = false;
  bool append_allowed_ = false;  // said by the core of the data at hand

  Purgatory committed_;  // acks = all: for the high watermark
  Purgatory stored_;     // acks = 1: for the leader's position
  Purgatory trims_;      // for the log start, which the metadata moves
  Offset trim_recorded_;       // as the controllers have answered
  absl::Status trim_refused_;  // of the last that was not recorded
  Waiters waiters_;
  OffsetAges silent_{kProducerSilentUs};
  OffsetAges expired_;

  PartitionMarks marks_written_;
  bool lossy_ = false;  // since the recovery, until it is in sync again
  bool lossy_on_disk_ = false;  // and until the marks say so
  NotSynced unsynced_;
  bool sync_in_flight_ = false;
  std::optional<Cut> cut_;  // under way
  bool closed_ = false;
  bool failed_ = false;
  std::string failure_;
  bool corrupt_ = false;
  // The first failure of a row of disk reads of which none succeeded.
  std::optional<int64_t> unreadable_since_us_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  // Goes first: its callbacks may name what is above.
  std::unique_ptr<ReplicaObserver> observer_;
  bool observer_closed_ = false;
};

}  // namespace sluice
