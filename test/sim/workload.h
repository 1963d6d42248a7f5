// Programs that use a simulated cluster: producers, readers, groups of them,
// somebody who creates and deletes topics.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "test/sim/group_load.h"
#include "test/sim/history_recorder.h"
#include "test/sim/leader_monitor.h"
#include "test/sim/metadata_watcher.h"
#include "test/sim/open_calls.h"
#include "test/sim/record_ledger.h"
#include "test/sim/sim_client.h"
#include "test/sim/stream_producer.h"
#include "test/sim/subscriber_load.h"
#include "test/sim/swarm.h"

namespace sluice::sim {

// The plan's topics exist when it starts.
class Workload {
 public:
  Workload(SimCluster* cluster, const SwarmPlan* plan,
           RecordLedger::Report report);
  ~Workload();

  // By the leader of that epoch.
  using OnAcked =
      std::function<void(const NamedPartition&, Offset, LeaderEpoch)>;
  void SetOnAcked(OnAcked on_acked) { on_acked_ = std::move(on_acked); }
  using OnCreated = std::function<void(const TopicId&)>;
  void SetOnCreated(OnCreated on_created) {
    on_created_ = std::move(on_created);
  }
  using OnOwned = GroupLoad::Deps::OnOwned;
  void SetOnOwned(OnOwned on_owned) { on_owned_ = std::move(on_owned); }
  void Start();
  // No new records and calls; what is under way goes on, readers read on.
  void Stop();
  // Every callback of a producer and every call but a reader's has come.
  bool AllAnswered() const;
  // The configs stay as they are from here on; false while a call that was
  // under way may still alter them.
  bool HoldConfigs();
  std::string Unanswered() const;
  // Reports what is not answered though its time is over.
  void CheckDue();

  // Which reader is not where this partition ends; "": all are.
  std::string WhyNotRead(const NamedPartition& tp, Offset high_watermark) const;
  // What the metadata that is watched differs in; "": nothing.
  std::string WhyWatchedDiffers(const MetadataImage& image) const {
    return watcher_ == nullptr ? "" : watcher_->WhyDiffers(image);
  }
  // Likewise, of groups, which have to be in one generation each.
  std::string WhyGroupsNotSettled(
      const std::function<Offset(const NamedPartition&)>& end) const;
  // The readers end. With a new one: every partition of the plan's topics from
  // its start to its end; then what the ledger and the judge of the history say. Nothing
  // else happens any more. Reports what cannot be read within `limit_us`.
  void CheckEnd(int64_t limit_us);

  // Of what has happened so far: before records are given up, which a history
  // knows nothing of.
  void JudgeSoFar() { Judge(/*is_over=*/false); }
  // Of so many records that acks=all acknowledged the history was judged.
  int64_t records_judged() const { return records_judged_; }
  int64_t records_judged_so_far() const { return records_judged_so_far_; }

  const RecordLedger& ledger() const { return ledger_; }
  RecordLedger& ledger() { return ledger_; }
  const check::History& history() const { return history_.history(); }
  std::vector<NamedPartition> partitions() const;
  int64_t records_read() const { return records_read_; }
  int64_t earliest_answers() const { return earliest_answers_; }
  // Acknowledged to the program that speaks ProduceStream itself.
  int64_t records_streamed() const { return streamed_; }
  ConsumeCounts consume_counts() const {
    return groups_ == nullptr ? ConsumeCounts() : groups_->consume_counts();
  }
  SubscriberCounts subscriber_counts() const {
    return subscribers_ == nullptr ? SubscriberCounts()
                                   : subscribers_->counts();
  }

 private:
  struct Sender;
  struct Reader;

  void AddSender(const ClientUse& use, bool weak);
  void SendSome(Sender& sender);
  void SendOne(Sender& sender);
  void Poll(Reader& reader);
  bool AwaitPolls();
  void OnPolled(Reader& reader,
                const absl::StatusOr<Consumer::Batches>& batches);
  void GoOn(Reader& reader, const absl::Status& error);
  void Take(Reader& reader, const FetchedBatch& batch);
  void Look(const NamedPartition& tp, const DecodedRecord& record);
  void MakeGroups();
  void MonitorLeaders();
  // workload_streams.cc
  void MakeSubscribers();
  void MakeStreamProducer();
  void MakeWatcher();
  void Judge(bool is_over);
  // workload_calls.cc
  // How far the first reader has been given a partition.
  Offset ReadUpTo(const NamedPartition& tp) const;
  void TrimSome();
  void Trim(const NamedPartition& tp, Offset before);
  void ListSome();
  void Identify();
  void ManageTopics();
  void GrowTopics();
  void EnsureInternal();
  void OrderElections();
  void CreateTopic(const std::string& name);
  void DeleteTopic(const std::string& name);
  void ManageConfigs();
  void AlterConfig(const std::string& topic, const std::string& key,
                   const std::string& value);

  SimCluster* const cluster_;
  const SwarmPlan* const plan_;
  const RecordLedger::Report report_;
  OnAcked on_acked_;
  OnCreated on_created_;
  OnOwned on_owned_;
  Random random_;
  Random grow_random_;
  RecordLedger ledger_;
  HistoryRecorder history_;
  OpenCalls sends_;
  OpenCalls polls_;
  OpenCalls calls_;
  std::unique_ptr<Executor> executor_;
  std::vector<std::string> made_topics_;
  int next_topic_ = 0;
  int64_t records_read_ = 0;
  int64_t records_judged_ = 0;
  int64_t records_judged_so_far_ = 0;
  int64_t earliest_answers_ = 0;
  int64_t streamed_ = 0;
  int64_t open_alters_ = 0;
  bool configs_held_ = false;
  bool stopped_ = false;
  bool stopped_reading_ = false;
  // Last: their calls are answered when they go.
  std::vector<std::unique_ptr<Sender>> senders_;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::unique_ptr<SimClient> operator_;
  std::unique_ptr<SimClient> lister_;
  std::unique_ptr<GroupLoad> groups_;            // null: none
  std::unique_ptr<SubscriberLoad> subscribers_;  // null: none
  std::unique_ptr<StreamProducer> streamer_;     // null: none
  std::unique_ptr<MetadataWatcher> watcher_;     // null: nobody
  std::vector<std::unique_ptr<LeaderMonitor>> monitors_;
};

}  // namespace sluice::sim
