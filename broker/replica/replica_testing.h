// A partition's replicas with everything around them that a core does not do
// itself: logs on disks, streams, the shipping of records, a controller. No
// time passes and nothing arrives unless a test says so. For tests.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "broker/replica/model_controller.h"
#include "broker/replica/model_log.h"
#include "broker/replica/replica_checker.h"
#include "broker/replica/replica_core.h"

namespace sluice::replica {

// "2 adds to 1: epoch 3 from 5 last 2": for scripts and failures.
std::string Describe(NodeId self, const Action& action);

struct GroupOptions {
  int replicas = 3;
  int min_isr = 2;
  bool durable = true;
  int64_t lag_time_max_us = 1'000'000;
};

class ReplicaGroup {
 public:
  // Records that a leader ships in one frame, to a follower.
  static constexpr int64_t kShippedAtOnce = 4;

  struct Data {
    LeaderEpoch leader_epoch;
    Offset base;
    std::vector<ModelRecord> records;
    Offset high_watermark;
  };
  using ToLeader = std::variant<FollowerAdd, FollowerAck>;
  using ToFollower = std::variant<AddAccepted, Diverging, AddError, Data,
                                  HighWatermarkReceived>;
  // Of a follower to a leader.
  struct Link {
    bool open = false;
    BrokerEpoch broker_epoch;
    std::deque<ToLeader> up;
    std::deque<ToFollower> down;
  };
  struct DiskWork {
    enum class Kind { kSync, kEpochStart, kCut, kLogStart } kind;
    Offset leo;         // kSync, kCut
    LeaderEpoch epoch;  // kEpochStart
  };
  struct Question {
    NodeId from;
    BrokerEpoch broker_epoch;
    ProposeIsr proposal;
    bool awaited = true;  // false: the leader was told "unknown"
  };
  struct Node {
    NodeId id;
    ModelLog log;
    std::unique_ptr<ReplicaCore> core;  // null: down
    BrokerEpoch broker_epoch;
    int64_t registered_at = 0;  // metadata version
    int64_t applied = -1;
    std::deque<DiskWork> disk;
    bool hold_disk = false;
    ModelController::Restart worth = ModelController::Restart::kClean;
    bool lost_power = false;  // since its last registration
    bool owes_verdict = false;
    std::map<NodeId, Offset> shipping;  // to whom, the next offset
    NodeId wants_link = kNoNode;
    bool may_append = false;   // said of the data at hand
    Offset checked;            // below it RP7 was found to hold
    std::vector<Action> done;  // all actions so far, with KeepActions()
  };

  explicit ReplicaGroup(const GroupOptions& options = {});

  Node& node(int n) { return nodes_.at(NodeId(n)); }
  ReplicaCore& core(int n) { return *node(n).core; }
  bool up(int n) { return node(n).core != nullptr; }
  std::vector<int> ids() const;
  // That leads with its epoch begun, of the newest epoch; 0: none.
  int leader() const;
  ModelController& controller() { return controller_; }
  ReplicaChecker& checker() { return checker_; }
  int64_t now_us() const { return now_us_; }

  // ---- Clients ----
  // False: refused, as CheckProduce said.
  bool Produce(int n, int records = 1, bool acks_all = true);
  // A leader asks for it; replicas hear of it with the metadata.
  void Trim(int n, Offset to);

  // ---- Time, disks ----
  void Pass(int64_t us) { now_us_ += us; }
  void Tick(int n);
  void CompleteDisk(int n);
  void SaveMarks(int n);

  // ---- Processes ----
  // The power goes; of what was not synced `kept` batches are there again.
  void PowerCut(int n, int64_t kept = 0, bool cut_done = false);
  void Kill(int n, bool cut_done = false);  // the page cache lives
  void StopClean(int n);
  // Recovers and registers; it applies no metadata yet.
  void Restart(int n);
  void Wipe(int n);  // when down: an empty disk
  // After a restart: its logs are recovered, they lost nothing.
  void ReportVerdict(int n);
  // It is up and has applied its registration.
  bool MayUnfence(int n) const;
  // The same process deletes its replica and begins an empty one.
  void DeleteReplica(int n);

  // ---- Metadata ----
  void Apply(int n, int64_t version);
  void ApplyAll();
  void ElectUnclean(int n);

  // ---- Streams ----
  Link& link(int follower, int leader) {
    return links_[{NodeId(follower), NodeId(leader)}];
  }
  void OpenLink(int follower, int leader);
  // What was under way is lost.
  void BreakLink(int follower, int leader);
  // The oldest frame between them, if any.
  bool Deliver(int from, int to);
  // As if the network had kept it: old streams' frames towards leaders.
  std::deque<std::pair<NodeId, ToLeader>>& late_frames() { return late_; }
  void DeliverLate(size_t position);

  // ---- ISR changes ----
  std::deque<Question>& questions() { return questions_; }
  // It reaches the controller; answered when somebody waits.
  void Decide(size_t position);
  // The leader gives up waiting; the question is lost or still comes.
  void GiveUp(size_t position, bool lost);

  // Links open, metadata, disks, frames, ISR questions: until nothing is left.
  void Settle();
  // Settle, with time passing.
  void Run(int64_t us);

  void Step(int n, const Event& event);
  void TraceOn() { trace_on_ = true; }
  void Note(const std::string& what);
  std::vector<std::string> TakeTrace() { return std::exchange(trace_, {}); }
  void KeepActions() { keep_actions_ = true; }

 private:
  void Start(Node& node);
  void GoDown(Node& node);
  void Carry(Node& node, const Action& action);
  void CarrySendAdd(Node& node, const SendAdd& add);
  void CarryCut(Node& node, Offset leo);
  void CarryLogStart(Node& node, Offset to);
  void CheckBegun(const Node& node);
  void Answer(Node& node, NodeId follower, ToFollower answer);
  void Ship(Node& node, NodeId follower);
  void ShipHighWatermark(Node& node, NodeId follower);
  void QueueSync(Node& node);
  void DrainDisk(Node& node);
  void Receive(Node& node, NodeId leader, const ToFollower& frame);
  void ReceiveData(Node& node, const Data& data);
  void Observe(Node& node);
  void CheckHolders(Offset from);
  void CheckLogStart(const Node& node);

  const GroupOptions options_;
  ModelController controller_;
  ReplicaChecker checker_;
  std::map<NodeId, Node> nodes_;
  std::map<std::pair<NodeId, NodeId>, Link> links_;
  std::deque<std::pair<NodeId, ToLeader>> late_;  // to whom
  std::deque<Question> questions_;
  int64_t now_us_ = 0;
  int64_t next_id_ = 1;
  Offset shown_start_;  // the highest at which a leader's log began
  bool trace_on_ = false;
  bool keep_actions_ = false;
  std::vector<std::string> trace_;
};

}  // namespace sluice::replica
