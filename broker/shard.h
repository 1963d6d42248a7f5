// One shard: the partitions of this broker that one thread owns.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/partition.h"
#include "broker/partition_host.h"
#include "broker/replica_host.h"
#include "broker/replication/replication_port.h"
#include "broker/shard_context.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"

namespace sluice {

// Lives on its executor, but for the methods of ReplicationPort, which may be
// called from any thread. Nothing here waits for another shard. Destroyed when
// its executor no longer runs; who waits then is not answered.
class Shard final : public PartitionHost, public ReplicationPort {
 public:
  struct Deps {
    size_t index = 0;
    size_t shard_count = 1;
    std::vector<LogDirectory*> directories;  // at least one
    std::shared_ptr<const ConfigRegistry> configs;
    // All tail caches of this shard together.
    int64_t tail_cache_bytes = 64 << 20;
    ShardContext::Deps context;
  };

  static constexpr int64_t kTickUs = 100'000;
  // How far marks on disk may lag behind the logs: the length of a recovery
  // scan, and the high watermark that a restart begins with.
  static constexpr int64_t kMarksEveryUs = 500'000;
  // One log may use at most this part of the shard's tail cache.
  static constexpr int64_t kTailCachePart = 4;
  // How soon a partition that found the disk full is tried again.
  static constexpr int64_t kHostAgainUs = 1'000'000;
  // How soon what the metadata does not show yet is told again.
  static constexpr int64_t kTellAgainUs = 1'000'000;
  // Verdicts that nobody waits for are told so many at once.
  static constexpr size_t kVerdictsTold = 100;
  // How often a long recovery says how far it is.
  static constexpr int64_t kProgressUs = 5'000'000;

  explicit Shard(Deps deps);
  ~Shard() override;

  // The shard of a partition: stable for the life of the process.
  static size_t IndexOf(const TopicPartition& tp, size_t shard_count);

  // ---- From the control side, by Replicas ----
  // Opens the logs found at the start that belong here, one a task, those that
  // are wanted first: by an election, or because the metadata has this broker
  // lead them, or nobody. Meanwhile they are REPLICA_RECOVERING.
  using VerdictSink = absl::AnyInvocable<void(
      std::vector<internal::v1::ReplicaVerdict>, bool last)>;
  void RecoverLogs(VerdictSink tell);
  void RecoverFirst(const std::vector<TopicPartition>& wanted);
  void ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                     const MetadataChanges& changes);
  void OnIsrDecisions(const std::vector<IsrDecision>& decisions);
  void OnLogStartDecisions(const std::vector<LogStartDecision>& decisions);
  // No more appends; syncs every log and gives the last marks to their
  // directories. An error: some log must not pass for cleanly closed. Never
  // answers after a failed sync.
  void CloseClean(absl::AnyInvocable<void(absl::Status)> done);

  // An operator's order. Answers why the replica had failed, once its files are
  // set aside. INVALID_REQUEST: it has not failed; INELIGIBLE_REPLICA: it is in
  // ISR or ELR still; LEADER_NOT_AVAILABLE: there is nobody to fill it from;
  // NOT_A_REPLICA; BUSY; STORAGE_ERROR: they could not be moved.
  using ResetDone = absl::AnyInvocable<void(absl::StatusOr<std::string>)>;
  void ResetReplica(const ReplicaReset& order, ResetDone done);

  // ---- For metrics ----
  const ShardCounters& counters() const { return context_.counters; }
  struct Facts {
    int64_t replicas = 0;
    int64_t leaders = 0;
    // Of the partitions led here: how far the furthest lags its log.
    int64_t hw_lag_records_max = 0;
    int64_t failed = 0;
    int64_t log_bytes = 0;
    int64_t producers = 0;  // known, over all partitions
    int64_t catching_up = 0;  // followers' replicas on catch-up streams
    int64_t to_recover = 0;   // logs found at the start
  };
  Facts CollectFacts() const;

  // ---- PartitionHost ----
  Executor* executor() override { return context_.deps.executor; }
  void Append(AppendRequest request, Task ordered,
              absl::AnyInvocable<void(AppendOutcome)> done) override;
  void Read(const ReadRequest& request,
            absl::AnyInvocable<void(ReadOutcome)> done) override;
  OffsetOutcome FindOffset(const OffsetRequest& request) override;
  void FindOffsetByTime(
      const OffsetRequest& request,
      absl::AnyInvocable<void(OffsetOutcome)> done) override;
  EpochEndOutcome FindEpochEnd(const EpochEndRequest& request) override;
  void Trim(const TrimRequest& request,
            absl::AnyInvocable<void(TrimOutcome)> done) override;
  WaitId WaitForProgress(const TopicPartition& tp, Offset offset,
                         Task wake) override;
  void CancelWait(const TopicPartition& tp, WaitId wait) override;
  v1::PartitionLog DescribeLog(const TopicPartition& tp) override;

  // ---- ReplicationPort: any thread ----
  void OnLinkOpen(const LeaderLink& link, StreamId id,
                  std::shared_ptr<FollowerStream> stream) override;
  void OnLeaderFrame(const LeaderLink& link, StreamId id,
                     LeaderFrame frame) override;
  void OnLinkClosed(const LeaderLink& link, StreamId id) override;
  void OnSessionOpen(FollowerSession session) override;
  void OnFollowerFrame(StreamId session, FollowerFrame frame) override;
  void OnSessionClosed(StreamId session) override;

  // A log found at the start, opened, that no metadata has claimed yet.
  struct Recovered {
    std::unique_ptr<Log> log;
    LogDirectory* directory = nullptr;
    Offset high_watermark;
    bool lossy = false;
  };

  // Found at the start, not opened yet.
  struct Unrecovered {
    LogDirectory* directory = nullptr;
    RecoveryMarks marks;
  };

  // Files that cannot be used: left as they are until the replica counts
  // nowhere; then set aside, and filled again from the leader.
  struct Unusable {
    std::string why;
    LogDirectory* directory = nullptr;
    bool moving = false;
  };

  // ---- For inspection: what a debugger would show. Read by checks, on the
  // ---- shard's thread; nothing in the product needs it ----
  // Null when not hosted here.
  const Partition* Find(const TopicPartition& tp) const;
  const std::map<TopicPartition, std::unique_ptr<Partition>>& partitions()
      const {
    return partitions_;
  }
  const std::map<TopicPartition, Recovered>& recovered() const {
    return recovered_;
  }
  const std::map<TopicPartition, Unusable>& unusable() const {
    return unusable_;
  }

 private:
  // ---- shard.cc ----
  Partition* Find(const TopicPartition& tp);
  template <class Outcome>
  Outcome NotHere(const TopicPartition& tp) const;
  absl::Status RecoversStill(const TopicPartition& tp) const;
  void ScheduleTick();
  void Tick();
  void WriteMarks();
  void FinishClose();

  // ---- shard_recovery.cc ----
  LogConfig NewLogConfig() const;
  void RecoverNext();
  TopicPartition NextToRecover();
  internal::v1::ReplicaVerdict RecoverOne(const TopicPartition& tp,
                                          LogDirectory* directory,
                                          const RecoveryMarks& marks);
  // Comes next, behind what was wanted before. False: it is not outstanding.
  bool WantRecovered(const TopicPartition& tp);
  // With its directory; null: it is not outstanding.
  LogDirectory* ForgetUnrecovered(const TopicPartition& tp);
  void TellVerdicts();

  // ---- shard_hosting.cc ----
  std::set<TopicPartition> Touched(const MetadataChanges& changes) const;
  void Host(const TopicPartition& tp);
  Partition* Create(const TopicPartition& tp, const TopicImage& topic,
                    const PartitionImage& state);
  void Observe(const TopicPartition& tp, const TopicImage& topic,
               Partition::Deps& deps);
  bool OpenNew(const TopicPartition& tp, const PartitionImage& state,
               Recovered& out);
  void Drop(const TopicPartition& tp);
  void SetStraysAside();
  LogDirectory* Forget(const TopicPartition& tp);
  // True while `tp` cannot be hosted for its old files.
  bool BlockedByOldFiles(const TopicPartition& tp,
                         const PartitionImage& state);
  LogDirectory* DirectoryFor(const PartitionImage& state) const;
  // Away with its files and its Partition; when they are, a new one is hosted.
  void SetReplicaAside(const TopicPartition& tp, const std::string& reason,
                       absl::AnyInvocable<void(bool moved)> done);

  // ---- shard_reset.cc ----
  absl::Status CheckReset(const ReplicaReset& order) const;

  // ---- shard_candidates.cc ----
  void NoteElection(const TopicPartition& tp, const TopicImage& topic,
                    const PartitionImage& state);
  std::optional<CandidateLog> LogNow(const TopicPartition& tp) const;
  void TellLog(const TopicPartition& tp);
  void TellLogs(int64_t now_us);

  // ---- shard_replication.cc ----
  void HandleLeaderFrame(const LeaderLink& link, LeaderFrame frame);
  void TickShippers(int64_t now_us);
  void HandleFollowerFrame(const FollowerSession& from,
                           const FollowerFrame& frame);
  void FlushOutgoing();
  void CloseSession(StreamId session);
  void TakeTimeLookups();  // shard_times.cc

  const size_t index_;
  const size_t shard_count_;
  const std::vector<LogDirectory*> directories_;
  const std::shared_ptr<const ConfigRegistry> configs_;
  const int64_t tail_cache_bytes_;
  const std::shared_ptr<TailBudget> tail_budget_;
  ShardContext context_;
  std::map<TopicPartition, std::unique_ptr<Partition>> partitions_;
  std::map<TopicPartition, Unrecovered> unrecovered_;
  std::deque<TopicPartition> recover_first_;
  std::set<TopicPartition> wanted_first_;  // is or was in there
  std::optional<TopicPartition> just_recovered_;
  size_t found_logs_ = 0;
  int64_t next_progress_us_ = 0;
  VerdictSink tell_verdicts_;
  std::vector<internal::v1::ReplicaVerdict> verdicts_;  // not told yet
  std::map<TopicPartition, Recovered> recovered_;
  std::map<TopicPartition, Unusable> unusable_;
  std::set<TopicPartition> host_again_;  // the disk was full
  // Replicas here of which an election wants to know.
  std::set<TopicPartition> candidates_;
  int64_t tell_again_us_ = 0;
  int64_t next_marks_us_ = 0;
  int64_t host_again_us_ = 0;
  bool flush_scheduled_ = false;
  // By timestamp: whose turn it is next, and whether one has its turn.
  std::deque<std::shared_ptr<TimeLookup>> time_lookups_;
  bool looking_ = false;

  bool closed_ = false;
  struct Closing {
    std::map<TopicPartition, Unsynced> logs;
    size_t directories_left = 0;
    absl::Status worst;
    absl::AnyInvocable<void(absl::Status)> done;
  };
  Closing closing_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
