#include "controller/raft_driver/raft_node.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

constexpr int64_t kTickUs = raft::kTickMs * 1000;

raft::BootstrapConfig BootstrapConfigOf(const RaftNodeOptions& options) {
  return {.self = {options.node_id, options.directory_id},
          .initial = options.initial_controllers};
}

}  // namespace

RaftNode::RaftNode(Deps deps, RaftNodeOptions options, RaftNodeEvents events,
                   uint64_t seed)
    : deps_(deps),
      options_(std::move(options)),
      events_(std::move(events)),
      random_(seed),
      bootstrap_(BootstrapConfigOf(options_), deps_.store->bootstrap(),
                 random_),
      alive_(std::make_shared<RaftNode*>(this)) {}

RaftNode::~RaftNode() {
  if (started_ && !halted_) Halt();
}

absl::Status RaftNode::Start() {
  INVARIANT(!started_, "RaftNode started twice");
  const bool listed = std::any_of(
      options_.initial_controllers.begin(), options_.initial_controllers.end(),
      [&](const auto& voter) { return voter.id == options_.node_id; });
  if (options_.initial_controllers.empty() ||
      options_.initial_controllers.size() >
          raft::BootstrapConfig::kVotersMax) {
    return MakeError(ErrorCode::kInvalidConfig, "--controllers names ",
                     options_.initial_controllers.size(),
                     " controllers; 1 to ", raft::BootstrapConfig::kVotersMax,
                     " are possible");
  }
  if (!listed && !deps_.store->bootstrap().has_value()) {
    LOG(INFO) << "controller " << options_.node_id
              << " is not in --controllers: it observes until it is admitted";
  }
  started_ = true;
  deps_.transport->Start(
      {.on_message =
           [this](raft::Message m) { return OnMessage(std::move(m)); },
       .on_link_up =
           [this](NodeId peer) {
             if (core_ == nullptr || halted_) return;
             core_->LinkUp(peer);
             Pump();
           },
       .on_link_broken =
           [this](NodeId peer) {
             if (core_ == nullptr || halted_) return;
             core_->LinkBroken(peer);
             Pump();
           }});
  next_tick_us_ = deps_.clock->MonoMicros();
  ScheduleTick();
  RunBootstrap(bootstrap_.Start());
  return absl::OkStatus();
}

void RaftNode::ScheduleTick() {
  // A process that was stopped or starved does not make up for lost ticks: it
  // has not heard its peers in that time either.
  const int64_t now_us = deps_.clock->MonoMicros();
  next_tick_us_ = std::max(next_tick_us_ + kTickUs, now_us);
  tick_timer_ = deps_.executor->PostAfter(
      next_tick_us_ - now_us,
      [this, alive = std::weak_ptr<RaftNode*>(alive_)] {
        if (!alive.expired()) OnTick();
      });
}

void RaftNode::OnTick() {
  if (halted_) return;
  ScheduleTick();
  RunBootstrap(bootstrap_.Tick());
  if (core_ != nullptr) core_->Tick();
  Pump();
  MaybeFinishStop();
}

void RaftNode::PostBack(absl::AnyInvocable<void()> task) {
  deps_.executor->Post([alive = std::weak_ptr<RaftNode*>(alive_),
                        task = std::move(task)]() mutable {
    if (!alive.expired()) task();
  });
}

void RaftNode::RunBootstrap(raft::BootstrapActions actions) {
  if (!actions.complaint.empty()) LOG(WARNING) << actions.complaint;
  if (actions.persist.has_value()) {
    ++writes_under_way_;
    deps_.writer->Post([this, store = deps_.store, executor = deps_.executor,
                        record = *actions.persist,
                        alive = std::weak_ptr<RaftNode*>(alive_)] {
      absl::Status status = store->WriteBootstrap(record);
      executor->Post([this, alive, status = std::move(status)]() mutable {
        if (alive.expired()) return;
        --writes_under_way_;
        if (halted_) return;
        if (status.ok()) status = deps_.store->Reload();
        if (!status.ok()) return Fatal(status);
        RunBootstrap(bootstrap_.Persisted());
      });
    });
  }
  SendAll(std::move(actions.messages));
  if (actions.done.has_value()) StartRaft(*actions.done);
}

void RaftNode::StartRaft(const raft::BootstrapRecord& record) {
  raft::RaftConfig config = options_.raft;
  // A voter is its disk, not its number (RA12).
  const auto identity = [&](NodeId node, DirectoryId disk) {
    return raft::VoterId{
        node, MUTANT(kVotersByIdOnly) ? DirectoryId(record.salt) : disk};
  };
  config.self = identity(options_.node_id, options_.directory_id);
  config.cluster_id = record.cluster_id;
  config.voters.clear();
  for (const raft::BootstrapVoter& voter : record.voters) {
    config.voters.push_back(identity(voter.id, voter.directory));
  }
  // The record came over the wire: it may be nonsense without being damaged.
  if (absl::Status valid = config.Validate(); !valid.ok()) {
    return Fatal(valid);
  }
  core_ = std::make_unique<raft::RaftCore>(
      config, deps_.store->stable_state(), *deps_.store, random_);
  LOG(INFO) << "controller " << options_.node_id << " of cluster "
            << record.cluster_id << ", "
            << (core_->is_voter() ? "voter" : "observer") << ", term "
            << core_->term() << ", log to " << core_->log().last_index();
  if (events_.on_cluster) events_.on_cluster(record);
  TellDurableTerm();
  Pump();
}

absl::Status RaftNode::OnMessage(raft::Message message) {
  if (halted_) return absl::OkStatus();
  if (raft::IsBootstrap(message.type)) {
    RunBootstrap(bootstrap_.Step(message));
    return absl::OkStatus();
  }
  if (core_ == nullptr) return absl::OkStatus();
  absl::Status status = core_->Step(message);
  if (status.ok()) bootstrap_.Heard(message.from);
  Pump();
  MaybeFinishStop();
  return status;
}

void RaftNode::SchedulePump() {
  if (pump_posted_) return;
  pump_posted_ = true;
  PostBack([this] {
    pump_posted_ = false;
    Pump();
  });
}

void RaftNode::Pump() {
  // Callbacks may call Propose and the like: the loop below picks it up.
  if (pumping_ || halted_ || core_ == nullptr) return;
  pumping_ = true;
  while (!halted_ && core_->HasReady()) {
    raft::Ready ready = core_->TakeReady();
    if (!ready.fault.ok()) {
      Fatal(ready.fault);
      break;
    }
    SendAll(std::move(ready.messages));
    if (ready.write_id != 0) StartWrite(ready);
    ApplyCommitted(ready.committed);
    FinishReads(ready.reads);
    if (ready.soft_state.has_value()) OnSoftState(*ready.soft_state);
  }
  pumping_ = false;
}

void RaftNode::StartWrite(raft::Ready& ready) {
  RaftWrite write{ready.hard_state, ready.truncate_from,
                  std::move(ready.entries)};
  deps_.store->Cache(write);
  ++writes_under_way_;
  deps_.writer->Post(
      [this, store = deps_.store, executor = deps_.executor,
       write = std::move(write), id = ready.write_id,
       messages = std::move(ready.messages_after_write),
       alive = std::weak_ptr<RaftNode*>(alive_)]() mutable {
        absl::Status status =
            write.empty() ? absl::OkStatus() : store->Write(write);
        executor->Post([this, id, alive = std::move(alive),
                        messages = std::move(messages),
                        status = std::move(status)]() mutable {
          if (alive.expired()) return;
          OnWritten(id, std::move(messages), status);
        });
      });
}

void RaftNode::OnWritten(uint64_t write_id,
                         std::vector<raft::Message> messages,
                         const absl::Status& status) {
  --writes_under_way_;
  if (halted_) return;
  if (!status.ok() && !MUTANT(kFailedLogOutlived)) return Fatal(status);
  SendAll(std::move(messages));
  core_->Persisted(write_id);
  TellDurableTerm();
  Pump();
  MaybeFinishStop();
}

void RaftNode::SendAll(std::vector<raft::Message> messages) {
  for (raft::Message& message : messages) {
    const NodeId to = message.to.node;
    deps_.transport->Send(to, std::move(message));
  }
}

void RaftNode::ApplyCommitted(const std::vector<raft::Entry>& entries) {
  for (const raft::Entry& entry : entries) {
    INVARIANT(entry.index == applied_index_.Next(), "RA8 applies ",
              entry.index, " after ", applied_index_);
    applied_index_ = entry.index;
    if (events_.apply) events_.apply(entry);
    const auto pending = proposals_.find(entry.index);
    if (pending == proposals_.end()) continue;
    const bool mine = pending->second.term == entry.term;
    CommitDone done = std::move(pending->second.done);
    proposals_.erase(pending);
    done(mine ? absl::OkStatus()
              : MakeError(ErrorCode::kNotController, "entry ", entry.index,
                          " was replaced by the next active controller; "
                          "nothing happened, try there"));
    if (halted_) return;
  }
}

void RaftNode::FinishReads(const std::vector<raft::ReadState>& reads) {
  for (const raft::ReadState& read : reads) {
    const auto found = reads_.find(read.id);
    if (found == reads_.end()) continue;
    ReadDone done = std::move(found->second);
    reads_.erase(found);
    if (read.ok) {
      done(read.index);
    } else {
      done(MakeError(ErrorCode::kNotController, "controller ",
                     options_.node_id,
                     " lost leadership before it could confirm a read; ask "
                     "the active controller"));
    }
  }
}

void RaftNode::OnSoftState(const raft::SoftState& soft) {
  const bool leads = soft.role == raft::Role::kLeader;
  EndProposals(MakeError(ErrorCode::kOutcomeUnknown, "controller ",
                         options_.node_id,
                         " lost leadership before the change was committed; "
                         "it may still happen"),
               leads ? std::optional<Term>(soft.term) : std::nullopt);
  if (!halted_ && events_.on_soft_state) events_.on_soft_state(soft);
}

void RaftNode::TellDurableTerm() {
  const Term durable = core_->durable_hard_state().term;
  if (durable == durable_term_told_) return;
  durable_term_told_ = durable;
  if (events_.on_durable_term) events_.on_durable_term(durable);
}

void RaftNode::EndProposals(const absl::Status& status,
                            std::optional<Term> but) {
  std::vector<CommitDone> ended;
  for (auto it = proposals_.begin(); it != proposals_.end();) {
    if (it->second.term == but) {
      ++it;
      continue;
    }
    ended.push_back(std::move(it->second.done));
    it = proposals_.erase(it);
  }
  for (CommitDone& done : ended) done(status);
}

absl::StatusOr<raft::EntryId> RaftNode::Propose(Buffer payload,
                                                CommitDone done) {
  if (halted_ || core_ == nullptr) {
    return MakeError(ErrorCode::kNotController, "controller ",
                     options_.node_id,
                     halted_ ? " is stopping" : " has no cluster yet",
                     "; try another or again");
  }
  auto id = core_->Propose(std::move(payload));
  if (!id.ok()) return id;
  // An entry of an older term may have stood here and been cut.
  if (const auto old = proposals_.find(id->index); old != proposals_.end()) {
    CommitDone lost = std::move(old->second.done);
    proposals_.erase(old);
    PostBack([lost = std::move(lost)]() mutable {
      lost(MakeError(ErrorCode::kNotController,
                     "the change was replaced; nothing happened, try again"));
    });
  }
  proposals_.emplace(id->index, Pending{id->term, std::move(done)});
  SchedulePump();
  return id;
}

void RaftNode::ReadIndex(ReadDone done) {
  absl::Status status =
      halted_ || core_ == nullptr
          ? MakeError(ErrorCode::kNotController, "controller ",
                      options_.node_id, " has no cluster yet; try again")
          : core_->ReadIndex(next_read_);
  if (!status.ok()) {
    return PostBack([done = std::move(done),
                     status = std::move(status)]() mutable { done(status); });
  }
  reads_.emplace(next_read_++, std::move(done));
  SchedulePump();
}

absl::Status RaftNode::TransferLeadership() {
  if (halted_ || core_ == nullptr) {
    return MakeError(ErrorCode::kNotController, "controller ",
                     options_.node_id, " does not lead");
  }
  absl::Status status = core_->TransferLeadership();
  SchedulePump();
  return status;
}

void RaftNode::Stop(Task stopped) {
  INVARIANT(started_ && !stopped_, "RaftNode stopped twice");
  if (halted_) return deps_.executor->Post(std::move(stopped));
  stopped_ = std::move(stopped);
  stop_deadline_us_ = deps_.clock->MonoMicros();
  if (core_ != nullptr && core_->TransferLeadership().ok()) {
    stop_deadline_us_ +=
        options_.raft.election_timeout_max_ticks * kTickUs;
    Pump();
  }
  MaybeFinishStop();
}

void RaftNode::MaybeFinishStop() {
  if (!stopped_ || halted_ || pumping_) return;
  // The successor may need this node's vote: stay until it leads.
  const bool handed_over = core_ != nullptr &&
                           core_->role() != raft::Role::kLeader &&
                           core_->leader().is_set();
  if (!handed_over && deps_.clock->MonoMicros() < stop_deadline_us_) return;
  Halt();
  deps_.executor->Post(std::move(stopped_));
}

void RaftNode::Halt() {
  halted_ = true;
  deps_.executor->Cancel(tick_timer_);
  deps_.transport->Stop();
  EndProposals(MakeError(ErrorCode::kShuttingDown, "controller ",
                         options_.node_id,
                         " is stopping; the change may still happen"));
  auto reads = std::exchange(reads_, {});
  for (auto& [id, done] : reads) {
    done(MakeError(ErrorCode::kNotController, "controller ",
                   options_.node_id, " is stopping; ask another"));
  }
}

void RaftNode::Fatal(const absl::Status& status) {
  if (halted_) return;
  LOG(ERROR) << "controller " << options_.node_id << ": " << status;
  Halt();
  if (events_.on_fatal) events_.on_fatal(status);
  if (stopped_) deps_.executor->Post(std::move(stopped_));
}

RaftNodeStatus RaftNode::Status() const {
  RaftNodeStatus status;
  if (core_ == nullptr) return status;
  const raft::RaftStatus core = core_->Status();
  status.has_cluster = true;
  status.soft = core.soft;
  status.is_voter = core.is_voter;
  status.commit_index = core.commit_index;
  status.applied_index = applied_index_;
  status.last_index = core.last_index;
  const auto& voters = bootstrap_.record()->voters;
  for (const raft::PeerStatus& peer : core.peers) {
    RaftPeer out{.id = peer.id,
                 .is_voter = peer.is_voter,
                 .is_leader = peer.id == core.soft.leader,
                 .endpoint = "",
                 .match = peer.match,
                 .last_contact_ms = peer.last_contact_ticks_ago < 0
                                        ? -1
                                        : peer.last_contact_ticks_ago *
                                              raft::kTickMs};
    for (const auto& voter : voters) {
      if (voter.voter() == peer.id) out.endpoint = voter.endpoint;
    }
    status.peers.push_back(std::move(out));
  }
  if (!status.peers.empty()) return status;
  for (const auto& voter : voters) {
    status.peers.push_back({.id = voter.voter(),
                            .is_voter = true,
                            .is_leader = voter.voter() == core.soft.leader,
                            .endpoint = voter.endpoint,
                            .match = LogIndex(0),
                            .last_contact_ms = -1});
  }
  return status;
}

bool RaftNode::IsLeader() const {
  return core_ != nullptr && core_->role() == raft::Role::kLeader;
}

NodeId RaftNode::leader_id() const {
  return core_ == nullptr ? kNoNode : core_->leader().node;
}

const std::optional<raft::BootstrapRecord>& RaftNode::cluster() const {
  static const std::optional<raft::BootstrapRecord> kNone;
  return core_ == nullptr ? kNone : bootstrap_.record();
}

}  // namespace sluice
