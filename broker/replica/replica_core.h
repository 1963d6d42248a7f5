// One replica of a partition as a state machine: who leads, what is committed,
// what has to be cut. No I/O, no clock, no locks: Step(event) -> actions. It
// implements design/replication.md 1-3 and 6; README.md has the pictures.
//
//               leader = self, epoch newer than the log
//    Waiting ----------------------------------------> Starting -> Leading
//      |  ^    (RP16: else it waits for a newer epoch)    |           |
//      |  |            every newer leader epoch           |           |
//      |  +-----------------------------------------------+-----------+
//      |  leader = other
//      +--------> Asking <-- refused, link closed, gap --- Following
//                  |   ^ \---- AddAccepted -------------------^
//        Diverging |   | TruncateDone
//                  v   |
//                 Cutting ---- a cut below the high watermark ----> Failed
//
// Driving it: one thread; carry out the actions of a Step in order before the
// next Step; tell every fact when it is true, not before (a Flushed is an
// fsync that returned). Nothing here fails: remote input that makes no sense is
// dropped or answered with an error, a fault of the driver is an INVARIANT.
//
// Promises, checked after every Step (invariants.cc): RP3 RP4 RP5 RP6 RP10
// RP11 RP12 RP13 RP14 RP15 RP16 of correctness.md 2.2, as far as one replica
// can see them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "broker/replica/actions.h"
#include "broker/replica/caught_up_samples.h"
#include "broker/replica/events.h"
#include "broker/replica/isr_policy.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"

namespace sluice::replica {

struct Config {
  NodeId self;
  int64_t lag_time_max_us = 10'000'000;
};

// What the disk held after recovery, all of it fsynced (Rule T1).
struct Recovered {
  Offset log_start;
  Offset leo;
  Offset high_watermark;  // of the marks; at most leo counts
  EpochHistory epochs;
};

// A leader's view of a replica, for operators.
struct FollowerStatus {
  NodeId broker;
  Offset appended = kNoOffset;     // -1: not reported in this leader epoch
  Offset durable = kNoOffset;
  int64_t last_caught_up_us = -1;  // -1: not in this leader epoch
};

enum class State {
  kWaiting,    // for metadata: no leader, or one of an older epoch than the log
  kStarting,   // leads; the epoch's start is not durable yet
  kLeading,
  kAsking,     // follows; not accepted by the leader
  kFollowing,  // accepted
  kCutting,    // a cut of the own log is under way
  kFailed,
};
std::string_view NameOf(State state);

class ReplicaCore {
 public:
  // Repeated questions to a leader: at first after kAskAgainMinUs, then twice
  // as long each time up to kAskAgainMaxUs.
  static constexpr int64_t kAskAgainMinUs = 200'000;
  static constexpr int64_t kAskAgainMaxUs = 1'600'000;
  // An accepted follower that is not in the ISR is owed something: the data that
  // it lacks, or its place in the ISR. It asks anew when it has heard nothing
  // for the lag time, then for twice as long each time, up to so many lag times,
  // until it hears something. A member of the ISR that hears nothing is idle:
  // were it not fed, the first record would take it out.
  static constexpr int64_t kSilenceLagTimesMax = 8;
  // After an ISR proposal was refused, or nobody knows whether it was applied.
  static constexpr int64_t kProposeAgainUs = 200'000;

  ReplicaCore(const Config& config, const Recovered& recovered);
  ReplicaCore(const ReplicaCore&) = delete;
  ReplicaCore& operator=(const ReplicaCore&) = delete;

  std::vector<Action> Step(const Event& event);

  // ---- Queries ----

  State state() const;
  // Exclusive. What a reader may be given lies below it.
  Offset high_watermark() const { return high_watermark_; }
  // The newest metadata names this replica leader of an epoch that it may
  // lead. Produce may still be closed: CheckProduce.
  bool leads() const { return leadership_.has_value() && !failed_; }
  // How far the own log counts: durable LEO, or LEO in memory mode. What
  // acks=1 waits for.
  Offset position() const { return durable_counts_ ? durable_ : leo_; }
  // Fewer committed ISR members than min.insync.replicas: nothing is committed
  // meanwhile.
  bool under_min_isr() const;
  // What lies below the high watermark is on the disks of the in-sync
  // replicas. False with durability=memory, and after that until the
  // controller knows that it has settled.
  bool promises_disk() const { return durable_counts_ && !settling_; }
  // False at a new leader until it knows all that was committed before: then
  // the answer to "latest offset" and the like is OFFSET_NOT_AVAILABLE (RP5).
  bool hw_is_truth() const;
  // OK: append now. kNotLeader: elsewhere. kLeaderNotAvailable: in a moment.
  // kNotEnoughReplicas: acks=all would not be (RP21). kReplicaFailed.
  absl::Status CheckProduce(bool acks_all) const;
  // As leader: every other replica, by id.
  std::vector<FollowerStatus> Followers() const;

  LeaderEpoch leader_epoch() const { return leader_epoch_; }
  Offset log_start() const { return log_start_; }
  Offset leo() const { return leo_; }
  Offset durable_leo() const { return durable_; }
  const EpochHistory& epochs() const { return epochs_; }
  // As leader: the committed ISR with what a proposal would add.
  std::set<NodeId> maximal_isr() const;
  // As leader: no ISR change is under way.
  bool isr_is_settled() const;

  // ---- For inspection: what a debugger would show. Read by checks (test/
  // ---- check), on the owner's thread; nothing in the product needs it ----

  // Events taken so far: while it has not risen, nothing here has changed.
  uint64_t steps() const { return steps_; }
  NodeId leader() const { return leader_; }
  PartitionEpoch partition_epoch() const { return partition_epoch_; }
  const std::vector<NodeId>& isr() const { return isr_; }
  int min_isr() const { return min_isr_; }
  bool durable_counts() const { return durable_counts_; }
  LeaderEpoch last_unclean_leader_epoch() const {
    return last_unclean_leader_epoch_;
  }
  // As leader: LESO, the followers, the ISR change under way; else empty.
  Offset epoch_start() const;
  std::map<NodeId, FollowerState> follower_states() const;
  std::optional<Proposal> proposal() const;

 private:
  struct Leadership {
    explicit Leadership(int64_t lag_time_max_us) : samples(lag_time_max_us) {}
    bool persisting = false;      // PersistEpochStart went out
    bool started = false;         // and is durable
    Offset epoch_start = kNoOffset;  // LESO; set with persisting
    std::map<NodeId, FollowerState> followers;
    std::map<NodeId, FollowerAdd> held;  // until started; of replicas only
    CaughtUpSamples samples;
    std::optional<Proposal> proposal;
    int64_t propose_not_before_us = 0;
  };
  struct Following {
    bool accepted = false;
    Offset leader_high_watermark = kNoOffset;  // as told while accepted
    int64_t ask_again_us = 0;
    int64_t patience_us = kAskAgainMinUs;
    int64_t heard_us = 0;     // from the leader, or that it is in the ISR
    int64_t silence_us = 0;   // so long a silence is borne
  };
  // What invariants.cc compares with.
  struct Before {
    LeaderEpoch leader_epoch;
    Offset high_watermark;
    Offset log_start;
    bool led;
  };

  // ---- replica_core.cc: metadata, the own log, where it starts ----
  void On(const MetadataChanged& e);
  void On(const Appended& e);
  void On(const Flushed& e);
  void On(const TruncateDone& e);
  void On(const Tick& e);
  void TakeRole();
  void AdvanceLogStart(Offset start);
  bool IsReplica(NodeId broker) const;
  void Fail(std::string why);
  void Do(Action action) { actions_.push_back(std::move(action)); }
  void SeeTime(int64_t now_us);

  // ---- step_leader.cc ----
  void On(const EpochStartPersisted& e);
  void On(const IsrAnswer& e);
  void On(const FollowerAdd& e);
  void On(const FollowerAck& e);
  void On(const FollowerGone& e);
  void StartEpoch();
  bool BeginsWhereItMust();
  void ContinueLeading();
  void OnLeaderAppended(Offset leo);
  void TickLeader();
  void AnswerAdd(const FollowerAdd& add);
  void RejectAdd(const FollowerAdd& add, ErrorCode code, std::string message);
  void NoteCaughtUp(FollowerState& follower);
  void AdvanceHighWatermark();
  void ImproveIsr();
  void Propose();
  IsrView View() const;

  // ---- step_follower.cc ----
  void On(const LinkOpened& e);
  void On(const LinkClosed& e);
  void On(const AddAccepted& e);
  void On(const Diverging& e);
  void On(const AddError& e);
  void On(const DataReceived& e);
  void On(const HighWatermarkReceived& e);
  bool Hears(LeaderEpoch epoch) const;
  void Ask();
  void AskLater();
  bool IsLeaderSilent() const;
  void AskAnew();
  void Hear();
  void TickFollower();
  void AdoptHighWatermark();
  void AdoptLogStart(Offset wanted);
  void OnOffsetOutOfRange(const AddError& e);
  bool MayCutBelowHighWatermark() const;
  void Cut(Offset target, std::string why);
  void Reset(Offset start);
  void Acknowledge();

  // ---- invariants.cc ----
  Before Remember() const;
  void CheckInvariants(const Before& before) const;
  void CheckLeadership(const Before& before) const;
  std::string Facts() const;

  const Config config_;

  // Of the own log.
  Offset log_start_;
  Offset leo_;
  Offset durable_;
  Offset high_watermark_;
  EpochHistory epochs_;
  std::optional<Offset> cut_;  // the target of a cut under way

  // Of the newest metadata.
  bool knows_metadata_ = false;
  NodeId leader_ = kNoNode;
  LeaderEpoch leader_epoch_ = kNoLeaderEpoch;
  PartitionEpoch partition_epoch_;
  std::vector<NodeId> replicas_;
  std::vector<NodeId> isr_;
  std::vector<NodeId> elr_;
  std::map<NodeId, Standing> standing_;
  int min_isr_ = 1;
  bool durable_counts_ = true;
  bool settling_ = false;  // durable_counts_, but did not always
  Offset registered_start_;        // no leader's log starts below
  bool registered_in_log_ = false;  // a batch of the own log begins there
  LeaderEpoch last_unclean_leader_epoch_ = kNoLeaderEpoch;

  // At most one of these.
  std::optional<Leadership> leadership_;
  std::optional<Following> following_;
  bool failed_ = false;

  uint64_t steps_ = 0;
  int64_t now_us_ = 0;  // the latest that was told
  std::vector<Action> actions_;  // of the Step under way
};

}  // namespace sluice::replica
