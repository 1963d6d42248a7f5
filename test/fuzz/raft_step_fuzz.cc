// RaftCore::Step with what a malicious or broken peer may send
// (controller/raft/raft_core.h; correctness.md 5.3 "Vote / AppendEntries").
//
// Property: any message that the wire can carry is taken, ignored or refused
// with INVALID_REQUEST or INCONSISTENT_CLUSTER_ID; nothing of it breaks an
// INVARIANT. Whatever the others do, this node keeps what it promised: one
// vote a term (RA2), term, commit and delivery that never fall and nothing
// committed that changes (RA8), no acknowledgement before its disk has the
// entry (RA9). A message that is put on the wire arrives as it was.
//
// Input: the node's start, then steps (RaftNodeUnderFire::Step): time, writes
// that become durable, proposals, broken links, and messages whose numbers are
// near the node's own, or anything, or raw bytes of a RaftMessage.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "controller/raft/raft_core.h"
#include "controller/raft/raft_testing.h"
#include "controller/rpc/raft_wire.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

using raft::Entry;
using raft::EntryType;
using raft::HardState;
using raft::Message;
using raft::MessageType;
using raft::VoterId;

constexpr int kStepsMax = 200;
const ClusterId kCluster(Uuid(7, 7));

VoterId Voter(int n, uint64_t disk = 1) {
  return {NodeId(n), DirectoryId(Uuid(static_cast<uint64_t>(n), disk))};
}

raft::RaftConfig Config(int voters, bool observes) {
  raft::RaftConfig config;
  config.self = observes ? Voter(1, 2) : Voter(1);
  config.cluster_id = kCluster;
  for (int n = 1; n <= voters; ++n) config.voters.push_back(Voter(n));
  config.heartbeat_ticks = 1;
  config.election_timeout_min_ticks = 3;
  config.election_timeout_max_ticks = 6;
  config.broken_link_min_ticks = 1;
  config.broken_link_max_ticks = 2;
  config.entry_bytes_max = 64;
  config.append_bytes_max = 128;
  config.append_entries_max = 3;
  config.inflight_appends_max = 2;
  config.uncommitted_bytes_max = 256;
  config.uncommitted_entries_max = 4;
  config.apply_bytes_max = 128;
  config.pending_reads_max = 3;
  config.observers_max = 2;
  return config;
}

raft::TestDisk FirstDisk() {
  raft::TestDisk disk;
  disk.entries = {{raft::kBootstrapTerm, raft::kBootstrapIndex,
                   EntryType::kBootstrap, Buffer::CopyOf("bootstrap")}};
  return disk;
}

bool SameEntry(const Entry& a, const Entry& b) {
  return a.term == b.term && a.index == b.index && a.type == b.type &&
         a.payload.view() == b.payload.view();
}

class RaftNodeUnderFire {
 public:
  RaftNodeUnderFire(int voters, bool observes, uint64_t seed)
      : config_(Config(voters, observes)),
        disk_(FirstDisk()),
        random_(seed),
        core_(config_, disk_.State(), disk_, random_) {
    Pump();
  }

  void Step(FuzzInput& in) {
    switch (in.Below(12)) {
      case 0:
        for (int i = in.Below(8); i >= 0; --i) core_.Tick();
        break;
      case 1: CompleteWrite(); break;
      case 2: hold_writes_ = in.Below(2) == 1; break;
      case 3: Propose(in); break;
      case 4: Need(core_.ReadIndex(++reads_), {ErrorCode::kNotController,
                                               ErrorCode::kBusy});
        break;
      case 5: Need(core_.TransferLeadership(), {ErrorCode::kNotController,
                                                ErrorCode::kInvalidRequest});
        break;
      case 6: core_.LinkBroken(NodeId(in.Below(5))); break;
      case 7: core_.LinkUp(NodeId(in.Below(5))); break;
      case 8: SendRaw(in.Piece()); break;
      default: Send(Craft(in)); break;
    }
    Pump();
  }

 private:
  struct Write {
    uint64_t id;
    std::optional<HardState> hard_state;
    std::optional<LogIndex> truncate_from;
    std::vector<Entry> entries;
    std::vector<Message> messages;
  };

  static void Need(const absl::Status& status,
                   std::vector<ErrorCode> promised) {
    const ErrorCode code = CodeOf(status);
    INVARIANT(code == ErrorCode::kNone ||
                  std::count(promised.begin(), promised.end(), code) > 0,
              "not promised: ", status.ToString());
  }

  void Propose(FuzzInput& in) {
    const std::string payload(in.Below(80), 'p');
    Need(core_.Propose(Buffer::CopyOf(payload)).status(),
         {ErrorCode::kNotController, ErrorCode::kBusy,
          ErrorCode::kMessageTooLarge});
  }

  // Near `own`, or anything.
  static int64_t Near(FuzzInput& in, int64_t own) {
    const int8_t delta = in.I8();
    if (delta == INT8_MIN) return static_cast<int64_t>(in.U64());
    // Round the corner too: whoever sends it does not mind.
    return static_cast<int64_t>(static_cast<uint64_t>(own) +
                                static_cast<uint64_t>(int64_t{delta % 6}));
  }

  VoterId Sender(FuzzInput& in) {
    const uint8_t who = in.Below(16);
    if (who < 10) return Voter(2 + who % 4);  // a voter, in large groups
    if (who < 12) return Voter(2, 2);         // a wiped disk
    if (who < 14) return Voter(9 + who);      // an observer
    if (who == 14) return config_.self;
    return {NodeId(in.I8()), DirectoryId()};
  }

  Message Craft(FuzzInput& in) {
    Message m;
    m.type = static_cast<MessageType>(in.Below(25));
    m.cluster_id = kCluster;
    m.from = Sender(in);
    m.to = config_.self;
    const uint8_t rare = in.Below(32);
    if (rare == 0) m.cluster_id = ClusterId(Uuid(8, 8));
    if (rare == 1) m.to = Voter(1, 3);
    m.term = Term(Near(in, core_.term().value()));
    m.log_index = LogIndex(Near(in, core_.log().last_index().value()));
    m.log_term = in.Below(4) == 0
                     ? Term(Near(in, core_.log().last_term().value()))
                     : core_.log().TermAt(m.log_index).value_or(Term(0));
    m.commit_index = LogIndex(Near(in, core_.commit_index().value()));
    m.reject = in.Below(3) == 0;
    m.flag = in.Below(3) == 0;
    m.reject_hint = LogIndex(Near(in, core_.log().last_index().value()));
    m.reject_hint_term = Term(Near(in, core_.log().last_term().value()));
    m.context = Near(in, 3);
    LogIndex index = m.log_index;
    Term term = m.term;
    for (int i = in.Below(5); i > 0; --i) {
      // Right most of the time: wrong ones end at the first check.
      const uint8_t wrong = in.U8();
      if (index.value() == INT64_MAX) break;
      index = index.Next();
      Entry entry{term, index, EntryType::kRecords,
                  Buffer::CopyOf(std::string(wrong % 70, 'e'))};
      if (wrong == 255) entry.index = LogIndex(Near(in, index.value()));
      if (wrong == 254) entry.term = Term(Near(in, term.value()));
      if (wrong == 253) entry.type = EntryType::kBootstrap;
      m.entries.push_back(std::move(entry));
    }
    return m;
  }

  void Send(const Message& m) {
    const auto arrived = RaftMessageFromProto(RaftMessageToProto(m));
    if (!arrived.ok()) {
      Need(arrived.status(), {ErrorCode::kInvalidRequest});
      return;
    }
    const bool same =
        raft::Describe(*arrived) == raft::Describe(m) &&
        arrived->from == m.from && arrived->to == m.to &&
        arrived->cluster_id == m.cluster_id && arrived->flag == m.flag &&
        arrived->commit_index == m.commit_index &&
        arrived->reject_hint == m.reject_hint &&
        arrived->reject_hint_term == m.reject_hint_term &&
        std::equal(arrived->entries.begin(), arrived->entries.end(),
                   m.entries.begin(), m.entries.end(), SameEntry);
    INVARIANT(same, raft::Describe(m), " arrives as ",
              raft::Describe(*arrived));
    Need(core_.Step(*arrived), {ErrorCode::kInvalidRequest,
                                ErrorCode::kInconsistentClusterId});
  }

  void SendRaw(std::string_view bytes) {
    internal::v1::RaftMessage proto;
    if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return;
    }
    const auto message = RaftMessageFromProto(std::move(proto));
    if (!message.ok()) {
      Need(message.status(), {ErrorCode::kInvalidRequest});
      return;
    }
    Need(core_.Step(*message), {ErrorCode::kInvalidRequest,
                                ErrorCode::kInconsistentClusterId});
  }

  // ---- What the driver does, and what must hold ----

  void Pump() {
    for (int i = 0; core_.HasReady(); ++i) {
      INVARIANT(i < 10000, "it is ready for ever");
      raft::Ready ready = core_.TakeReady();
      INVARIANT(ready.fault.ok(), ready.fault.ToString());
      INVARIANT(!ready.truncate_from.has_value() ||
                    ready.truncate_from->value() >
                        static_cast<int64_t>(delivered_.size()),
                "RA8 truncates ", *ready.truncate_from, " of ",
                delivered_.size(), " delivered");
      for (const Message& message : ready.messages) CheckSent(message);
      for (const Entry& entry : ready.committed) Deliver(entry);
      if (ready.write_id != 0) {
        writes_.push_back({ready.write_id, ready.hard_state,
                           ready.truncate_from, std::move(ready.entries),
                           std::move(ready.messages_after_write)});
      }
      while (!hold_writes_ && !writes_.empty()) CompleteWrite();
      CheckState();
    }
  }

  void CompleteWrite() {
    if (writes_.empty()) return;
    const Write write = std::move(writes_.front());
    writes_.pop_front();
    if (write.hard_state.has_value()) {
      const HardState& old = disk_.hard_state;
      const HardState& now = *write.hard_state;
      INVARIANT(now.term > old.term ||
                    (now.term == old.term &&
                     (!old.vote.is_set() || old.vote == now.vote)),
                "RA2 hard state ", old.term, "/", old.vote, " becomes ",
                now.term, "/", now.vote);
    }
    disk_.Apply(write.hard_state, write.truncate_from, write.entries);
    for (const Message& message : write.messages) CheckSent(message);
    core_.Persisted(write.id);
  }

  void CheckSent(const Message& m) {
    INVARIANT(m.term >= Term(0) && m.log_index >= LogIndex(0), "sends ",
              raft::Describe(m));
    const bool ack = m.type == MessageType::kAppendResponse && !m.reject;
    INVARIANT(!ack || m.log_index.value() <=
                          static_cast<int64_t>(disk_.entries.size()),
              "RA9 acknowledges ", m.log_index, ", its disk ends at ",
              disk_.entries.size());
    if (m.type == MessageType::kVoteResponse && !m.reject) {
      INVARIANT(disk_.hard_state.term >= m.term &&
                    (disk_.hard_state.term > m.term ||
                     disk_.hard_state.vote == m.to),
                "RA2 tells of a vote for ", m.to, " in term ", m.term,
                ", its disk of ", disk_.hard_state.vote);
    }
  }

  void Deliver(const Entry& entry) {
    INVARIANT(entry.index.value() ==
                  static_cast<int64_t>(delivered_.size()) + 1,
              "RA8 delivers ", entry.index, " after ", delivered_.size());
    delivered_.push_back(entry);
  }

  void CheckState() {
    INVARIANT(core_.term() >= term_ && core_.commit_index() >= commit_,
              "RA8 term ", term_, " -> ", core_.term(), ", commit ", commit_,
              " -> ", core_.commit_index());
    term_ = core_.term();
    commit_ = core_.commit_index();
    INVARIANT(commit_ <= core_.log().last_index() &&
                  core_.durable_index() <= core_.log().last_index(),
              "RA8 commit ", commit_, " of ", core_.log().last_index());
    for (const Entry& entry : delivered_) {
      INVARIANT(core_.log().TermAt(entry.index) == entry.term,
                "RA8 delivered ", entry.index, " changed");
    }
    INVARIANT(core_.Status().peers.size() <= config_.voters.size() + 2,
              "more observers than are allowed");
  }

  const raft::RaftConfig config_;
  raft::TestDisk disk_;
  Random random_;
  raft::RaftCore core_;
  std::deque<Write> writes_;
  bool hold_writes_ = false;
  std::vector<Entry> delivered_;
  Term term_;
  LogIndex commit_{0};
  uint64_t reads_ = 0;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::fuzz::FuzzInput;
  FuzzInput input(data, size);
  const uint8_t start = input.U8();
  const int voters = start % 3 == 0 ? 1 : start % 3 == 1 ? 3 : 5;
  sluice::fuzz::RaftNodeUnderFire node(voters, (start & 0x80) != 0,
                                       input.U8());
  for (int i = 0; i < sluice::fuzz::kStepsMax && !input.empty(); ++i) {
    node.Step(input);
  }
  return 0;
}
