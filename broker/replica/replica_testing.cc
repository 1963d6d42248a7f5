#include "broker/replica/replica_testing.h"

#include <algorithm>

#include "common/base/invariant.h"

namespace sluice::replica {
namespace {

template <class... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace

ReplicaGroup::ReplicaGroup(const GroupOptions& options)
    : options_(options),
      controller_(options.replicas, options.min_isr, options.durable) {
  for (int n = 1; n <= options.replicas; ++n) {
    Node& node = nodes_[NodeId(n)];
    node.id = NodeId(n);
    node.broker_epoch = BrokerEpoch(n);
    Start(node);
  }
}

std::vector<int> ReplicaGroup::ids() const {
  std::vector<int> result;
  for (const auto& [id, node] : nodes_) result.push_back(id.value());
  return result;
}

int ReplicaGroup::leader() const {
  int best = 0;
  LeaderEpoch epoch = kNoLeaderEpoch;
  for (const auto& [id, node] : nodes_) {
    if (node.core == nullptr || node.core->state() != State::kLeading) continue;
    if (node.core->leader_epoch() <= epoch) continue;
    best = id.value();
    epoch = node.core->leader_epoch();
  }
  return best;
}

void ReplicaGroup::Note(const std::string& what) {
  if (trace_on_) trace_.push_back(what);
}

// ---- Steps ----

void ReplicaGroup::Start(Node& node) {
  const Recovered recovered = node.log.Recover();
  node.core = std::make_unique<ReplicaCore>(
      Config{node.id, options_.lag_time_max_us}, recovered);
  node.disk.clear();
  node.shipping.clear();
  node.wants_link = kNoNode;
  node.applied = -1;
  checker_.Restarted(node.id);
  node.checked = Offset(0);
  Observe(node);
}

void ReplicaGroup::Step(int n, const Event& event) {
  Node& node = this->node(n);
  if (node.core == nullptr) return;
  node.may_append = false;
  std::vector<Action> actions = node.core->Step(event);
  for (const Action& action : actions) {
    if (trace_on_) trace_.push_back(Describe(node.id, action));
    Carry(node, action);
    if (keep_actions_) node.done.push_back(action);
  }
  Observe(node);
  DrainDisk(node);
}

void ReplicaGroup::Observe(Node& node) {
  const ReplicaCore& core = *node.core;
  checker_.HighWatermarkIs(node.id, core.leader_epoch(),
                           core.high_watermark());
  CheckLogStart(node);
  const State state = core.state();
  if (state != State::kLeading && state != State::kFollowing) return;
  if (core.leader_epoch() < controller_.now().last_unclean_leader_epoch) {
    return;
  }
  // After an unclean election a replica may have been told more by the deposed
  // leader than the ledger has.
  const Offset committed = checker_.committed();
  if (!checker_.Check(
          core.high_watermark() <= committed || checker_.gave_up(), "RP7",
          node.id,
          StrCat("its HW is ", core.high_watermark(), ", committed is ",
                 committed))) {
    return;
  }
  const Offset upto = std::min(core.high_watermark(), committed);
  checker_.Holds("RP7", node.id, node.log, node.checked, upto, "its HW");
  node.checked = upto;
}

// Nobody deletes before it is recorded, and what a leader has shown as deleted
// no election undoes, unclean or not (F34).
void ReplicaGroup::CheckLogStart(const Node& node) {
  const ReplicaCore& core = *node.core;
  checker_.Check(core.log_start() <= controller_.now().log_start, "RP23",
                 node.id,
                 StrCat("its log begins at ", core.log_start(),
                        ", registered is ", controller_.now().log_start));
  if (core.state() != State::kLeading) return;
  // A deposed leader need not know what its successor has shown.
  if (core.leader_epoch() == controller_.now().leader_epoch) {
    checker_.Check(core.log_start() >= shown_start_, "F34", node.id,
                   StrCat("leads a log from ", core.log_start(), " on, ",
                          shown_start_, " was shown"));
  }
  shown_start_ = std::max(shown_start_, core.log_start());
}

// RP2: who may be elected without further questions holds what is committed;
// in disk mode, on its disk.
void ReplicaGroup::CheckHolders(Offset from) {
  if (checker_.giving_up()) return;
  for (const NodeId id : controller_.now().MustHoldCommitted()) {
    const Node& node = nodes_.at(id);
    const bool on_disk = controller_.now().promises_disk();
    if (node.core == nullptr && !on_disk) continue;
    checker_.Holds("RP2", id, node.log, from, checker_.committed(),
                   "ISR or ELR");
    if (!on_disk || checker_.gave_up()) continue;
    checker_.Check(node.log.durable() >= checker_.committed(), "RP2", id,
                   StrCat("its disk ends at ", node.log.durable(),
                          ", committed is ", checker_.committed()));
  }
}

void ReplicaGroup::Carry(Node& node, const Action& action) {
  const auto answer = [&](NodeId broker, ToFollower frame) {
    Answer(node, broker, std::move(frame));
  };
  std::visit(
      Overloaded{
          [&](const PersistEpochStart& a) {
            node.log.StartEpoch(a.epoch);
            node.disk.push_back(
                {DiskWork::Kind::kEpochStart, node.log.leo(), a.epoch});
          },
          [&](const AppendData&) { node.may_append = true; },
          [&](const TruncateTo& a) {
            CarryCut(node, node.log.TruncateTo(a.target));
          },
          [&](const ResetTo& a) {
            node.log.ResetTo(a.start);
            CarryCut(node, a.start);
          },
          [&](const AdvanceLogStart& a) { CarryLogStart(node, a.log_start); },
          [&](const Failed& a) { checker_.Check(false, "RP13", node.id, a.why); },
          [&](const SendAdd& a) { CarrySendAdd(node, a); },
          [&](const SendAck& a) {
            Link& to = links_[{node.id, a.leader}];
            if (!to.open) return;
            to.up.push_back(FollowerAck{node.id, to.broker_epoch,
                                        a.leader_epoch, a.appended, a.durable,
                                        /*now_us=*/0});
          },
          [&](const AcceptFollower& a) {
            CheckBegun(node);
            node.shipping[a.broker] = a.from;
            answer(a.broker, AddAccepted{a.leader_epoch, a.from,
                                         node.log.log_start()});
            ShipHighWatermark(node, a.broker);
            Ship(node, a.broker);
          },
          [&](const DivergeFollower& a) {
            CheckBegun(node);
            answer(a.broker, Diverging{a.leader_epoch, a.end.epoch, a.end.end,
                                       a.fetch_offset});
            ShipHighWatermark(node, a.broker);
          },
          [&](const RejectFollower& a) {
            answer(a.broker,
                   AddError{a.leader_epoch, a.code, node.log.log_start(),
                            a.fetch_offset});
          },
          [&](const DropFollower& a) {
            node.shipping.erase(a.broker);
            answer(a.broker, AddError{node.core->leader_epoch(),
                                      ErrorCode::kStaleBrokerEpoch, kNoOffset});
          },
          [&](const ProposeIsr& a) {
            questions_.push_back({node.id, node.broker_epoch, a});
          },
          [&](const HighWatermarkMoved& a) {
            if (node.core->leads()) {
              CheckBegun(node);
              const Offset before = checker_.committed();
              checker_.Committed(node.id, node.core->leader_epoch(), node.log,
                                 a.high_watermark);
              CheckHolders(before);
              for (const auto& [id, other] : nodes_) ShipHighWatermark(node, id);
            }
          },
          [&](const BecameLeader&) {
            checker_.BecameLeader(node.id, node.core->leader_epoch(), node.log,
                                  node.core->high_watermark());
          },
          [&](const LostLeadership&) {
            for (const auto& [broker, next] : std::exchange(node.shipping, {})) {
              answer(broker, AddError{node.core->leader_epoch(),
                                      ErrorCode::kNotLeader, kNoOffset});
            }
          },
      },
      action);
}

// RP10: a leader says nothing in an epoch that its disk does not know.
void ReplicaGroup::CheckBegun(const Node& node) {
  checker_.Check(node.log.marked_epoch() >= node.core->leader_epoch(), "RP10",
                 node.id,
                 StrCat("answers in epoch ", node.core->leader_epoch(),
                        ", its disk knows ", node.log.marked_epoch()));
}

void ReplicaGroup::CarryCut(Node& node, Offset leo) {
  node.checked = Offset(0);
  // An unclean leader's log may take the HW back, once, before it is followed.
  if (controller_.now().last_unclean_leader_epoch != kNoLeaderEpoch) {
    checker_.Restarted(node.id);
  }
  node.disk.push_back({DiskWork::Kind::kCut, leo, kNoLeaderEpoch});
}

// ---- Clients ----

bool ReplicaGroup::Produce(int n, int records, bool acks_all) {
  Node& node = this->node(n);
  if (node.core == nullptr || !node.core->CheckProduce(acks_all).ok()) {
    return false;
  }
  const Offset from = node.log.leo();
  std::vector<ModelRecord> batch;
  for (int i = 0; i < records; ++i) {
    batch.push_back({node.core->leader_epoch(), next_id_++, i == 0});
  }
  const auto started = node.log.Append(batch);
  checker_.Check(started.empty(), "RP10", node.id,
                 StrCat("epoch ", node.core->leader_epoch(),
                        " begins with a record"));
  checker_.Appended(node.id, node.log, from);
  Step(n, Appended{node.log.leo(), {}, now_us_});
  for (const auto& [follower, next] : std::map(node.shipping)) {
    Ship(node, follower);
  }
  QueueSync(node);
  return true;
}

void ReplicaGroup::Trim(int n, Offset to) {
  const Node& node = this->node(n);
  INVARIANT(node.core->hw_is_truth() && to <= node.core->high_watermark(),
            "RP23 a trim to ", to);
  controller_.AdvanceLogStart(node.id, node.broker_epoch,
                              node.core->leader_epoch(), to);
}

void ReplicaGroup::CarryLogStart(Node& node, Offset to) {
  node.log.SetLogStart(to);
  node.disk.push_back(
      {DiskWork::Kind::kLogStart, node.log.leo(), kNoLeaderEpoch});
}

// ---- Time, disks ----

void ReplicaGroup::Tick(int n) { Step(n, replica::Tick{now_us_}); }

void ReplicaGroup::QueueSync(Node& node) {
  for (const DiskWork& work : node.disk) {
    if (work.kind == DiskWork::Kind::kSync) return;
  }
  node.disk.push_back({DiskWork::Kind::kSync, node.log.leo(), kNoLeaderEpoch});
  DrainDisk(node);
}

void ReplicaGroup::DrainDisk(Node& node) {
  while (!node.hold_disk && !node.disk.empty()) {
    CompleteDisk(node.id.value());
  }
}

void ReplicaGroup::CompleteDisk(int n) {
  Node& node = this->node(n);
  if (node.core == nullptr || node.disk.empty()) return;
  const DiskWork work = node.disk.front();
  node.disk.pop_front();
  switch (work.kind) {
    case DiskWork::Kind::kSync:
      node.log.SyncTo(work.leo);
      Step(n, Flushed{node.log.durable(), now_us_});
      if (node.log.durable() < node.log.leo()) QueueSync(node);
      return;
    case DiskWork::Kind::kEpochStart:
      node.log.SaveMarks(node.core->high_watermark());
      Step(n, EpochStartPersisted{work.epoch, now_us_});
      return;
    case DiskWork::Kind::kLogStart:
      node.log.SaveMarks(node.core->high_watermark());
      return;
    case DiskWork::Kind::kCut:
      node.log.FinishCut(node.core->high_watermark());
      Step(n, TruncateDone{work.leo});
      return;
  }
}

void ReplicaGroup::SaveMarks(int n) {
  if (up(n)) node(n).log.SaveMarks(core(n).high_watermark());
}

// ---- Metadata ----

void ReplicaGroup::Apply(int n, int64_t version) {
  Node& node = this->node(n);
  if (node.core == nullptr || version <= node.applied ||
      version < node.registered_at) {
    return;
  }
  node.applied = version;
  const ModelMetadata& m = controller_.At(version);
  MetadataChanged e;
  e.leader = m.leader;
  e.leader_epoch = m.leader_epoch;
  e.partition_epoch = m.partition_epoch;
  e.replicas = m.replicas;
  e.isr = m.isr;
  e.elr = m.elr;
  e.elr.insert(e.elr.end(), m.unverified_elr.begin(), m.unverified_elr.end());
  e.min_isr = m.min_isr;
  e.durable = m.durable;
  e.durability_settling = m.settling;
  e.last_unclean_leader_epoch = m.last_unclean_leader_epoch;
  e.log_start = m.log_start;
  e.log_start_in_log = node.log.BeginsBatchAt(m.log_start);
  for (const auto& [id, broker] : m.brokers) {
    e.standing[id] = {broker.epoch, broker.active()};
  }
  e.now_us = now_us_;
  Step(n, e);
}

void ReplicaGroup::ApplyAll() {
  for (int n : ids()) Apply(n, controller_.version());
}

void ReplicaGroup::ElectUnclean(int n) {
  controller_.ElectUnclean(NodeId(n));
  checker_.ElectedUnclean(controller_.now().leader_epoch);
}

// ---- ISR changes ----

void ReplicaGroup::Decide(size_t position) {
  using Verdict = ModelController::Verdict;
  using Outcome = IsrAnswer::Outcome;
  const Question question = questions_.at(position);
  questions_.erase(questions_.begin() + static_cast<int64_t>(position));
  const Verdict verdict = controller_.Alter(
      question.from, question.broker_epoch, question.proposal);
  Note(StrCat("controller: ", verdict == Verdict::kApplied      ? "applied"
                              : verdict == Verdict::kIneligible ? "ineligible"
                                                                : "stale"));
  CheckHolders(Offset(0));
  const Node& node = nodes_.at(question.from);
  if (!question.awaited || node.core == nullptr ||
      node.broker_epoch != question.broker_epoch) {
    return;
  }
  const bool another_copy = std::any_of(
      questions_.begin(), questions_.end(), [&](const Question& other) {
        return other.from == question.from &&
               other.proposal.leader_epoch == question.proposal.leader_epoch &&
               other.proposal.partition_epoch ==
                   question.proposal.partition_epoch;
      });
  IsrAnswer answer{Outcome::kStale, question.proposal.leader_epoch,
                   question.proposal.partition_epoch};
  if (verdict == Verdict::kApplied) {
    answer.outcome = Outcome::kApplied;
    answer.applied_epoch = controller_.now().partition_epoch;
  } else if (verdict == Verdict::kIneligible) {
    answer.outcome = another_copy ? Outcome::kUnknown : Outcome::kNotApplied;
  }
  Step(question.from.value(), answer);
}

void ReplicaGroup::GiveUp(size_t position, bool lost) {
  Question& question = questions_.at(position);
  const bool awaited = std::exchange(question.awaited, false);
  const Question copy = question;
  if (lost) {
    questions_.erase(questions_.begin() + static_cast<int64_t>(position));
  }
  const Node& node = nodes_.at(copy.from);
  if (!awaited || node.core == nullptr ||
      node.broker_epoch != copy.broker_epoch) {
    return;
  }
  Step(copy.from.value(),
       IsrAnswer{IsrAnswer::Outcome::kUnknown, copy.proposal.leader_epoch,
                 copy.proposal.partition_epoch});
}

// ---- Until nothing is left ----

void ReplicaGroup::Settle() {
  bool more = true;
  for (int round = 0; more; ++round) {
    INVARIANT(round < 10000, "it never ends");
    more = false;
    for (int n : ids()) {
      Node& node = this->node(n);
      if (node.core == nullptr) continue;
      if (node.applied < controller_.version()) {
        Apply(n, controller_.version());
        more = true;
      }
      if (node.owes_verdict) {
        ReportVerdict(n);
        more = true;
      }
      if (node.wants_link != kNoNode && up(node.wants_link.value())) {
        OpenLink(n, node.wants_link.value());
        more = true;
      }
    }
    for (int from : ids()) {
      for (int to : ids()) {
        while (Deliver(from, to)) more = true;
      }
    }
    while (!questions_.empty()) {
      Decide(0);
      more = true;
    }
  }
}

void ReplicaGroup::Run(int64_t us) {
  constexpr int64_t kTickUs = 100'000;
  for (const int64_t end = now_us_ + us; now_us_ < end;) {
    Settle();
    Pass(kTickUs);
    for (int n : ids()) Tick(n);
  }
  Settle();
}

}  // namespace sluice::replica
