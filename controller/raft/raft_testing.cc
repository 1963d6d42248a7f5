#include "controller/raft/raft_testing.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice::raft {
namespace {

const ClusterId kCluster(Uuid(7, 7));

std::vector<VoterId> Voters(int count) {
  std::vector<VoterId> result;
  for (int n = 1; n <= count; ++n) {
    result.push_back({NodeId(n), DirectoryId(Uuid(n, 1))});
  }
  return result;
}

std::vector<Entry> FirstEntries() {
  return {{kBootstrapTerm, kBootstrapIndex, EntryType::kBootstrap,
           Buffer::CopyOf("bootstrap")}};
}

}  // namespace

StableState TestDisk::State() const {
  StableState state{.hard_state = hard_state,
                    .first_index = LogIndex(1),
                    .base_term = Term(0),
                    .last_index = LogIndex(entries.size()),
                    .term_starts = {}};
  for (const Entry& entry : entries) {
    if (state.term_starts.empty() ||
        state.term_starts.back().term != entry.term) {
      state.term_starts.push_back({entry.term, entry.index});
    }
  }
  return state;
}

void TestDisk::Apply(const std::optional<HardState>& state,
                     std::optional<LogIndex> truncate_from,
                     const std::vector<Entry>& appended) {
  if (state.has_value()) hard_state = *state;
  if (truncate_from.has_value() &&
      static_cast<size_t>(truncate_from->value()) <= entries.size()) {
    entries.resize(truncate_from->value() - 1);
  }
  for (const Entry& entry : appended) {
    INVARIANT(entry.index.value() == static_cast<int64_t>(entries.size()) + 1,
              "a gap in the log before ", entry.index);
    entries.push_back(entry);
  }
}

absl::StatusOr<std::vector<Entry>> TestDisk::Read(LogIndex from, LogIndex end,
                                                  int entries_max,
                                                  size_t bytes_max) const {
  if (read_fails) return MakeError(ErrorCode::kStorageError, "EIO");
  INVARIANT(end.value() <= static_cast<int64_t>(entries.size()) + 1,
            "read of ", end, " past what is durable");
  std::vector<Entry> result;
  size_t bytes = 0;
  for (LogIndex i = from; i < end; i = i.Next()) {
    const Entry& entry = entries[i.value() - 1];
    if (!result.empty() &&
        (static_cast<int>(result.size()) >= entries_max ||
         bytes + entry.Bytes() > bytes_max)) {
      break;
    }
    bytes += entry.Bytes();
    result.push_back(entry);
  }
  return result;
}

RaftGroup::RaftGroup(int voters, uint64_t seed,
                     std::function<void(RaftConfig&)> tune)
    : seed_(seed),
      tune_(std::move(tune)),
      voters_(Voters(voters)),
      random_(seed),
      checker_(voters_, FirstEntries()) {
  for (const VoterId& voter : voters_) {
    Node& node = nodes_[voter.node];
    node.id = voter;
    node.disk.entries = FirstEntries();
    Start(node);
  }
}

std::vector<int> RaftGroup::ids() const {
  std::vector<int> result;
  for (const auto& [id, node] : nodes_) result.push_back(id.value());
  return result;
}

int RaftGroup::leader() const {
  int best = 0;
  Term term(-1);
  for (const auto& [id, node] : nodes_) {
    if (node.core == nullptr || node.core->role() != Role::kLeader) continue;
    if (node.core->term() > term) {
      best = id.value();
      term = node.core->term();
    }
  }
  return best;
}

void RaftGroup::Start(Node& node) {
  RaftConfig config;
  config.self = node.id;
  config.cluster_id = kCluster;
  config.voters = voters_;
  if (tune_) tune_(config);
  node.random = std::make_unique<Random>(random_.Next64());
  node.writes.clear();
  node.delivered.clear();
  node.core = std::make_unique<RaftCore>(config, node.disk.State(), node.disk,
                                         *node.random);
  checker_.Started(node.id);
}

void RaftGroup::Emit(Node& node, std::vector<Message> messages) {
  for (Message& message : messages) {
    trace_.push_back(StrCat("send ", Describe(message)));
    checker_.Sent(node.id, message);
    network_.push_back(std::move(message));
  }
}

void RaftGroup::Observe(Node& node, const Ready& ready) {
  const RaftCore& core = *node.core;
  if (ready.truncate_from.has_value() || !ready.entries.empty()) {
    checker_.LogChanged(node.id, core.role() == Role::kLeader, core.term(),
                        ready.truncate_from, ready.entries);
  }
  if (ready.soft_state.has_value()) {
    const SoftState& soft = *ready.soft_state;
    trace_.push_back(StrCat(node.id.node, " ", NameOf(soft.role), " t",
                            soft.term,
                            soft.leader.is_set()
                                ? StrCat(" leader ", soft.leader.node)
                                : std::string()));
    if (soft.role == Role::kLeader) {
      checker_.BecameLeader(node.id, soft.term);
    }
  }
  for (const Entry& entry : ready.committed) {
    trace_.push_back(
        StrCat(node.id.node, " commits ", entry.index, "/", entry.term));
    checker_.Delivered(node.id, entry);
    node.delivered.push_back(entry);
  }
  checker_.StateIs(node.id, core.term(), core.commit_index());
  for (const ReadState& read : ready.reads) {
    trace_.push_back(StrCat(node.id.node, " read ", read.id,
                            read.ok ? StrCat(" at ", read.index)
                                    : std::string(" failed")));
    if (read.ok) checker_.ReadEnded(read.id, read.index);
    node.reads.push_back(read);
  }
}

void RaftGroup::Pump(Node& node) {
  while (node.core != nullptr && node.core->HasReady()) {
    Ready ready = node.core->TakeReady();
    Observe(node, ready);
    Emit(node, std::move(ready.messages));
    if (ready.write_id != 0) {
      node.writes.push_back({ready.write_id, ready.hard_state,
                             ready.truncate_from, std::move(ready.entries),
                             std::move(ready.messages_after_write)});
    }
    if (!ready.fault.ok()) {
      node.core.reset();
      return;
    }
    while (!node.hold_writes && !node.writes.empty()) {
      Write write = std::move(node.writes.front());
      node.writes.pop_front();
      node.disk.Apply(write.hard_state, write.truncate_from, write.entries);
      checker_.DiskWrote(node.id, write.hard_state, write.truncate_from,
                         write.entries);
      Emit(node, std::move(write.messages));
      node.core->Persisted(write.id);
    }
  }
}

void RaftGroup::CompleteWrite(int n) {
  Node& node = this->node(n);
  if (node.core == nullptr || node.writes.empty()) return;
  Write write = std::move(node.writes.front());
  node.writes.pop_front();
  node.disk.Apply(write.hard_state, write.truncate_from, write.entries);
  checker_.DiskWrote(node.id, write.hard_state, write.truncate_from,
                     write.entries);
  Emit(node, std::move(write.messages));
  node.core->Persisted(write.id);
  Pump(node);
}

void RaftGroup::Tick(int n) {
  if (!up(n)) return;
  core(n).Tick();
  Pump(node(n));
}

void RaftGroup::TickAll() {
  for (int n : ids()) Tick(n);
}

void RaftGroup::Campaign(int n) {
  for (int i = 0; i < 100 && core(n).role() == Role::kFollower; ++i) Tick(n);
}

void RaftGroup::Elect(int n) {
  // The others' leases run out with the old leader's silence.
  for (int i = 0; i < 20; ++i) {
    for (int other : ids()) {
      if (other != n && up(other) && core(other).role() == Role::kFollower &&
          core(other).leader().is_set()) {
        LinkBroken(other, core(other).leader().node.value());
      }
    }
    if (core(n).role() == Role::kFollower) Campaign(n);
    DeliverAll();
    if (core(n).role() == Role::kLeader) return;
    Tick(n);
  }
  INVARIANT(false, "node ", n, " was not elected");
}

absl::StatusOr<EntryId> RaftGroup::Propose(int n, const std::string& payload) {
  auto id = core(n).Propose(Buffer::CopyOf(payload));
  Pump(node(n));
  return id;
}

absl::Status RaftGroup::Read(int n, uint64_t id) {
  checker_.ReadBegan(id);
  absl::Status status = core(n).ReadIndex(id);
  Pump(node(n));
  return status;
}

absl::Status RaftGroup::Step(int n, const Message& message) {
  absl::Status status = core(n).Step(message);
  Pump(node(n));
  return status;
}

void RaftGroup::LinkBroken(int at, int peer) {
  if (!up(at)) return;
  core(at).LinkBroken(NodeId(peer));
  Pump(node(at));
}

absl::Status RaftGroup::Transfer(int n) {
  absl::Status status = core(n).TransferLeadership();
  Pump(node(n));
  return status;
}

void RaftGroup::Crash(int n, size_t kept) {
  Node& node = this->node(n);
  if (node.core == nullptr) return;
  for (size_t i = 0; i < kept && i < node.writes.size(); ++i) {
    const Write& write = node.writes[i];
    node.disk.Apply(write.hard_state, write.truncate_from, write.entries);
    checker_.DiskWrote(node.id, write.hard_state, write.truncate_from,
                       write.entries);
  }
  node.writes.clear();
  node.core.reset();
  trace_.push_back(StrCat(n, " crashes"));
}

void RaftGroup::Restart(int n) {
  if (up(n)) return;
  Start(node(n));
  trace_.push_back(StrCat(n, " restarts t", core(n).term(), " last ",
                          core(n).log().last_index()));
  Pump(node(n));
}

void RaftGroup::Wipe(int n) {
  Crash(n);
  Node& node = this->node(n);
  node.id.directory =
      DirectoryId(Uuid(n, node.id.directory.low() + 1));
  node.disk = TestDisk();
  node.disk.entries = FirstEntries();
  Restart(n);
}

void RaftGroup::DeliverAt(size_t position) {
  const Message message = std::move(network_[position]);
  network_.erase(network_.begin() + static_cast<int64_t>(position));
  const int from = message.from.node.value();
  const int to = message.to.node.value();
  if (cuts_.count({from, to}) > 0 || nodes_.count(NodeId(to)) == 0 ||
      !up(to)) {
    return;
  }
  const absl::Status status = Step(to, message);
  if (!status.ok()) trace_.push_back(std::string(status.message()));
}

void RaftGroup::DeliverAll() {
  for (int i = 0; i < 100000 && !network_.empty(); ++i) DeliverAt(0);
  INVARIANT(network_.empty(), "messages never end");
}

void RaftGroup::CutOneWay(int from, int to) { cuts_.insert({from, to}); }

void RaftGroup::Cut(int a, int b) {
  CutOneWay(a, b);
  CutOneWay(b, a);
}

void RaftGroup::Isolate(int n) {
  for (int other : ids()) {
    if (other != n) Cut(n, other);
  }
}

void RaftGroup::Run(int ticks) {
  for (int i = 0; i < ticks; ++i) {
    TickAll();
    DeliverAll();
  }
}

std::vector<std::string> RaftGroup::TakeTrace() {
  return std::exchange(trace_, {});
}

}  // namespace sluice::raft
