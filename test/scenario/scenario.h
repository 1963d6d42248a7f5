// Scenarios as scripts: a whole cluster of real brokers and controllers in
// virtual time, faults placed message by message, and what has to be true in
// between. Read from top to bottom:
//
//   Scenario s;
//   const Tp t = s.CreateTopic("t", {.replicas = 3, .min_isr = 2});
//   const auto [A, B, C] = s.ReplicasOf<3>(t);       // A leads
//   s.Produce(t, "m1");
//   const auto reply = s.Hold({MessageKind::kAlterPartitionsReply, kAnyone, A});
//   s.Kill(C);
//   s.UntilCaught(reply);
//   s.Kill(A);
//   s.UntilLeader(t, B);
//   s.Converge({{t, {"m1"}}});
//
// A statement that does not hold ends the test there and then, with what was
// done so far: a scenario whose setup was not reached fails. Every invariant of
// test/check is evaluated after every event.
//
// Clients: Send and Fetch call a broker directly, past the network, so that a
// script says which broker is asked; sim::SimClient is the real client library.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/broker.h"
#include "broker/replica/replica_core.h"
#include "common/base/error.h"
#include "common/env/mem_file_system.h"
#include "controller/metadata/image.h"
#include "controller/raft/raft_core.h"
#include "test/sim/cluster_checks.h"
#include "test/sim/message.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/wire.h"

namespace sluice::scenario {

using sim::Message;
using sim::MessageKind;
using Where = std::source_location;

class Scenario;

struct Tp {
  std::string topic;
  int partition = 0;

  auto operator<=>(const Tp&) const = default;
  std::string ToString() const;
};

struct ScenarioOptions {
  int brokers = 3;      // 1, 2, ...
  int controllers = 3;  // 101, 102, ... : processes of their own
  std::map<std::string, std::string> settings;
  std::map<int, int64_t> drift_ppm;
  // 1: every read of a log asks the disk.
  int64_t tail_cache_bytes = Broker::kTailCacheBytesPerShard;
  uint64_t seed = 1;
  // Before the first process starts: what is to be caught from then on.
  std::function<void(Scenario&)> before_boot = nullptr;
};

struct TopicOptions {
  int partitions = 1;
  int replicas = 3;
  int min_isr = 2;
  bool in_memory = false;  // durability=memory
  std::map<std::string, std::string> configs = {};  // beside these
};

// Which messages; a node of kAnyone is any.
inline constexpr int kAnyone = 0;
struct Match {
  MessageKind kind = MessageKind::kStreamEnd;
  int from = kAnyone;
  int to = kAnyone;
  std::function<bool(const Message&)> when = nullptr;
};

// What a Watch, Hold, Drop, Reset or Repeat has met so far.
struct Caught {
  uint64_t filter = 0;
  int count = 0;
  std::vector<std::string> bytes;  // as on the wire: sim::Wire reads them
  std::vector<uint64_t> held;  // sequences, in the order sent
};
using CaughtPtr = std::shared_ptr<Caught>;

// What a producer hears of one record.
struct Answer {
  bool given = false;
  ErrorCode code = ErrorCode::kNone;
  Offset offset = kNoOffset;
  bool below_min_isr = false;
  std::string durability;

  bool acked() const { return given && code == ErrorCode::kNone; }
};
using AnswerPtr = std::shared_ptr<const Answer>;

// What a controller answers to a change that it was asked for; nullopt: nothing
// yet.
using ProposedPtr = std::shared_ptr<const std::optional<absl::Status>>;

using Values = std::vector<std::string>;

class Scenario {
 public:
  explicit Scenario(ScenarioOptions options = {}, Where where = Where::current());
  ~Scenario();
  Scenario(const Scenario&) = delete;

  // ---- Processes and machines (scenario.cc) ----

  void Boot(int node);
  void Kill(int node);  // the page cache lives
  // Of what was not synced nothing survives.
  void PowerCut(int node);
  void PowerCutAll(const std::vector<int>& nodes);
  void Pause(int node);
  void Resume(int node);
  void Stop(int node, Where where = Where::current());  // clean
  void WipeLogs(int node);  // its broker's disk is replaced; it is down
  void Wipe(int node);      // all its disks are

  // ---- Disks (scenario_disks.cc) ----

  void HangDisk(int node);  // every sync waits, until
  void FreeDisk(int node);
  // Of the record at this offset, in the replica's log: on the disk and in the
  // page cache.
  void FlipBit(int node, const Tp& tp, int64_t offset,
               Where where = Where::current());
  // Of the next write the disk puts the bytes a page away from their place; the
  // page cache shows them where they belong until the machine ends.
  void MisdirectWrite(int node);
  // Its replicas may find that they are of no use: it cannot read its disk.
  void MayBeSetAside(int node);
  // The next `count` operations of the kind fail with EIO.
  using Operation = MemFileSystem::Operation;
  void BreakDisk(int node, Operation operation,
                 int count = MemFileSystem::kForEver);
  void FillDisk(int node);
  // It works again and has room; what it lost stays lost.
  void MendDisk(int node);
  // The process of the node has ended itself; it had reason to.
  void UntilDead(int node, int64_t limit_ms = kLimitMs,
                 Where where = Where::current());
  bool IsCorrupt(int node, const Tp& tp);

  // ---- The network ----

  void Cut(int a, int b);
  void CutOneWay(int from, int to);
  void Isolate(int node);  // from every other process
  // A broker from the controllers alone, and back.
  void CutOff(int broker);
  void Rejoin(int broker);
  void Mend(int a, int b);
  void Heal();
  void HalfOpen(int a, int b);
  CaughtPtr Watch(Match match);  // changes nothing
  CaughtPtr Hold(Match match);
  CaughtPtr Drop(Match match);
  CaughtPtr Reset(Match match);  // its connection is reset
  // Each once more, so much later.
  CaughtPtr Repeat(Match match, int64_t after_ms);
  // No more of them; what is held stays held.
  void Cease(const CaughtPtr& caught);
  // Ceases, and what is held arrives, though its receiver may wait no more.
  void Deliver(const CaughtPtr& caught);
  // The first of what is held arrives; it goes on.
  void DeliverFirst(const CaughtPtr& caught);
  void DropHeld(const CaughtPtr& caught);
  void UntilCaught(const CaughtPtr& caught, int count = 1,
                   Where where = Where::current());

  // ---- Time ----

  static constexpr int64_t kLimitMs = 20'000;
  void RunFor(int64_t ms, Where where = Where::current());
  void Until(std::string_view what, const std::function<bool()>& holds,
             int64_t limit_ms = kLimitMs, Where where = Where::current());
  // All the while.
  void Throughout(int64_t ms, std::string_view what,
                  const std::function<bool()>& holds,
                  Where where = Where::current());
  void Expect(bool holds, std::string_view what,
              Where where = Where::current());
  int64_t NowMs() { return sim().world().MonoMicros() / 1000; }

  // ---- Topics (scenario_topics.cc) ----

  // Created, led and in full ISR; its partition 0.
  Tp CreateTopic(const std::string& name, const TopicOptions& options = {},
                 Where where = Where::current());
  void DeleteTopic(const std::string& name, Where where = Where::current());
  // Committed when it returns; its brokers may not know yet.
  void SetConfig(const std::string& topic, const std::string& key,
                 const std::string& value, Where where = Where::current());
  // By the active controller, of this partition.
  v1::ElectLeaderResult Elect(const Tp& tp, v1::ElectLeadersRequest::Kind kind,
                              Where where = Where::current());
  // A change of the metadata, asked of this controller whoever is active: a
  // topic of one partition and one replica.
  ProposedPtr Propose(int controller, const std::string& topic);
  // Preferred leader first.
  template <size_t N>
  std::array<int, N> ReplicasOf(const Tp& tp, Where where = Where::current()) {
    const std::vector<NodeId> all = Committed(tp, where).replicas;
    Expect(all.size() == N, "the number of replicas", where);
    std::array<int, N> ids;
    for (size_t i = 0; i < N; ++i) ids[i] = all[i].value();
    return ids;
  }

  // ---- What the controllers have committed ----

  // The newest image that any process shows.
  const MetadataImage& NewestImage();
  const PartitionImage& Committed(const Tp& tp, Where where = Where::current());
  bool IsInIsr(const Tp& tp, int broker);
  // Leads by the metadata and in fact.
  void UntilLeader(const Tp& tp, int broker, Where where = Where::current());
  void UntilNoLeader(const Tp& tp, Where where = Where::current());
  void ExpectLeader(const Tp& tp, int broker, Where where = Where::current());
  void UntilIsr(const Tp& tp, const std::set<int>& isr,
                int64_t limit_ms = kLimitMs, Where where = Where::current());
  void ExpectIsr(const Tp& tp, const std::set<int>& isr,
                 Where where = Where::current());
  std::set<int> ElrOf(const Tp& tp);  // unverified members too
  bool IsFenced(int broker);
  // Raft's leader of the highest term that runs; 0: none.
  int ActiveController();
  int UntilController(Where where = Where::current());
  const raft::RaftCore& RaftOf(int node, Where where = Where::current());

  // ---- What a replica holds ----

  // Null: it does not host the partition.
  const replica::ReplicaCore* FindCore(int broker, const Tp& tp);
  const replica::ReplicaCore& Core(int broker, const Tp& tp,
                                   Where where = Where::current());
  Values LogOf(int broker, const Tp& tp);
  void ExpectLog(int broker, const Tp& tp, const Values& values,
                 Where where = Where::current());
  void UntilLog(int broker, const Tp& tp, const Values& values,
                Where where = Where::current());
  void UntilHighWatermark(int broker, const Tp& tp, int64_t at_least,
                          Where where = Where::current());

  // ---- Clients (scenario_clients.cc) ----

  // To this broker, whoever leads.
  AnswerPtr Send(int broker, const Tp& tp, const std::string& value,
                 int acks = -1);
  // To the topic of this id, partition 0; `name` is what the client thinks
  // that it is called.
  AnswerPtr SendById(int broker, const TopicId& topic, const std::string& value,
                     const std::string& name = "");
  // A client of its own sends it.
  void MaySend(const Tp& tp, const std::string& value) {
    sent_[tp].insert(value);
  }
  void UntilAcked(const AnswerPtr& answer, Where where = Where::current());
  // Answered with an error of this code.
  void UntilRefused(const AnswerPtr& answer, ErrorCode code,
                    Where where = Where::current());
  void UntilAnswered(const AnswerPtr& answer, Where where = Where::current());
  void ExpectUnanswered(const AnswerPtr& answer,
                        Where where = Where::current());
  // To the leader; acknowledged by all.
  Offset Produce(const Tp& tp, const std::string& value,
                 Where where = Where::current());
  struct Fetched {
    ErrorCode code = ErrorCode::kNone;
    Offset high_watermark = kNoOffset;
    Values values;
  };
  // From this broker, without waiting.
  Fetched Fetch(int broker, const Tp& tp, int64_t offset,
                Where where = Where::current());
  Fetched FetchById(int broker, const TopicId& topic, int64_t offset,
                    const std::string& name = "",
                    Where where = Where::current());
  // As a reader in some rack: a follower may answer.
  Fetched FetchNear(int broker, const Tp& tp, int64_t offset,
                    Where where = Where::current());
  // The latest offset, as this broker tells it.
  struct Latest {
    ErrorCode code = ErrorCode::kNone;
    Offset offset = kNoOffset;
  };
  Latest ListLatest(int broker, const Tp& tp, Where where = Where::current());
  // DeleteRecords, asked of this broker; the answer's offset is the log start.
  AnswerPtr Trim(int broker, const Tp& tp, int64_t before);
  void ExpectValue(const Tp& tp, int64_t offset, const std::string& value,
                   Where where = Where::current());

  // ---- Ends ----

  // An unclean election has been: what was acknowledged from there on that it
  // names need not be there any more.
  void MayLose(const Tp& tp, Where where = Where::current());
  // A process of this node has a reason to end itself.
  void MayFail(int node) { may_fail_.insert(node); }
  void ExpectNoViolation(Where where = Where::current());
  // Heals, frees, resumes and boots all; then every replica is equal and in
  // sync, whatever was acknowledged is where it was said to be, nothing else
  // but what was sent is there, and no process ended itself. The last statement
  // of a script. `logs`: exactly these records.
  void Converge(const std::map<Tp, Values>& logs = {},
                Where where = Where::current());

  sim::SimCluster& sim() { return sim_; }
  std::string ToString(const Tp& tp);
  // Adds a line to what a failure shows.
  void Note(std::string line);
  [[noreturn]] void Fail(std::string_view what, Where where);

 private:
  AnswerPtr SendTo(int broker, const api::TopicRef& topic, int partition,
                   const std::string& value, int acks,
                   std::function<void(const Answer&)> on_answer);
  Fetched FetchFrom(int broker, const api::TopicRef& topic, int partition,
                    int64_t offset, const std::string& rack, Where where);
  void AfterEvent(NodeId ran);
  void TellOfFailedSyncs(NodeId ran);
  void ForgetFailedSyncs(int node);
  CaughtPtr Catch(Match match, std::optional<sim::Verdict> verdict,
                  std::string_view verb);
  bool AllEqual(const Tp& tp);
  void CheckRecords(const Tp& tp, Where where);
  std::string WhyNotConverged();
  TopicPartition IdOf(const Tp& tp, Where where);

  sim::SimCluster sim_;
  std::string violation_;  // of an invariant; "": none
  sim::ClusterChecks checks_;
  // Told to the checks behind the event, when its other effects were seen.
  std::vector<std::pair<TopicPartition, Offset>> unchecked_acks_;
  std::shared_ptr<const MetadataImage> newest_ = MetadataImage::Empty();
  std::vector<Tp> partitions_;
  std::map<Tp, std::map<Offset, std::string>> acked_;
  std::map<Tp, std::set<std::string>> sent_;
  std::set<int> may_fail_;
  // Whose copies of what may be set aside; nullopt: of everything.
  std::set<std::pair<NodeId, std::optional<TopicPartition>>> lies_;
  std::map<int, int64_t> failed_syncs_;  // that the checks know of, by node
  std::vector<std::string> history_;
  std::vector<CaughtPtr> catching_;
  bool over_ = false;  // converged, or failed
};

// Whether an AlterPartitions asks for this ISR, of whatever partition.
bool AsksForIsr(const Message& message, const std::set<int>& isr);

}  // namespace sluice::scenario
