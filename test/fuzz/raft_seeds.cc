#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "controller/raft_driver/bootstrap_codec.h"
#include "controller/raft_driver/raft_log_store.h"
#include "controller/rpc/raft_wire.h"
#include "storage/mem_kv_store.h"
#include "test/fuzz/seeds.h"

namespace sluice::fuzz {
namespace {

using raft::Message;
using raft::MessageType;

// ---- raft_step_fuzz: steps of RaftNodeUnderFire ----

// Numbers are deltas to the node's own.
struct Crafted {
  MessageType type;
  int from = 0;  // 0..3: voters 2..5
  int term = 0;
  int log_index = 0;
  int commit = 0;
  bool reject = false;
  bool flag = false;
  int context = 0;
  int entries = 0;
};

// Of a node with every field a delta, in the order in which Craft reads them.
void Put(SeedWriter& out, const Crafted& m) {
  out.U8(9).U8(static_cast<int>(m.type)).U8(m.from).U8(31);
  out.U8(m.term).U8(m.log_index).U8(1).U8(m.commit);
  out.U8(m.reject ? 0 : 1).U8(m.flag ? 0 : 1);
  out.U8(m.log_index).U8(0).U8(m.context);
  out.U8(m.entries);
  for (int i = 0; i < m.entries; ++i) out.U8(7);
}

SeedWriter Start(int voters) {
  SeedWriter out;
  return out.U8(voters == 1 ? 0 : voters == 3 ? 1 : 2).U8(1);
}

SeedWriter Ticks(SeedWriter out, int ticks) {
  for (; ticks > 0; ticks -= 8) out.U8(0).U8(7);
  return out;
}

// Three voters, elected: timeout, pre-votes, votes.
SeedWriter Elected() {
  SeedWriter out = Ticks(Start(3), 16);
  Put(out, {.type = MessageType::kPreVoteResponse, .from = 0, .term = 1});
  Put(out, {.type = MessageType::kVoteResponse, .from = 0});
  return out;
}

std::string RawMessage() {
  Message m;
  m.type = MessageType::kAppend;
  m.cluster_id = ClusterId(Uuid(7, 7));
  m.from = {NodeId(2), DirectoryId(Uuid(2, 1))};
  m.to = {NodeId(1), DirectoryId(Uuid(1, 1))};
  m.term = Term(3);
  m.log_index = LogIndex(1);
  m.entries.push_back({Term(3), LogIndex(2), raft::EntryType::kNoOp,
                       Buffer::CopyOf("")});
  return RaftMessageToProto(m).SerializeAsString();
}

void AddStepSeeds(std::vector<Seed>& seeds) {
  const auto add = [&](const char* name, const SeedWriter& script) {
    seeds.push_back({"raft_step_fuzz", name, script.Finish()});
  };
  SeedWriter leads = Elected();
  Put(leads, {.type = MessageType::kAppendResponse, .from = 0});
  leads.U8(3).U8(10).U8(3).U8(20).U8(4);
  Put(leads, {.type = MessageType::kAppendResponse, .from = 0});
  Put(leads, {.type = MessageType::kHeartbeatResponse, .from = 1});
  Put(leads, {.type = MessageType::kAppendResponse, .from = 1,
              .log_index = -1, .reject = true});
  Put(leads, {.type = MessageType::kObserve, .from = 12, .log_index = -1});
  leads.U8(5);
  add("leads", leads);

  SeedWriter deposed = Elected();
  deposed.U8(3).U8(10).U8(3).U8(20);
  Put(deposed, {.type = MessageType::kAppend, .from = 1, .term = 1,
                .log_index = -2, .commit = 1, .entries = 3});
  add("deposed", deposed);

  SeedWriter follows = Start(3);
  Put(follows, {.type = MessageType::kAppend, .from = 0, .term = 1,
                .entries = 3});
  Put(follows, {.type = MessageType::kHeartbeat, .from = 0, .commit = 2});
  Put(follows, {.type = MessageType::kAppend, .from = 0, .log_index = -1,
                .commit = 2, .entries = 2});
  Put(follows, {.type = MessageType::kTimeoutNow, .from = 0});
  add("follows", follows);

  SeedWriter votes = Start(5);
  votes.U8(2).U8(1);  // writes are held
  Put(votes, {.type = MessageType::kPreVote, .from = 0, .term = 1});
  Put(votes, {.type = MessageType::kVote, .from = 0, .term = 1});
  Put(votes, {.type = MessageType::kVote, .from = 1, .flag = true});
  votes.U8(1).U8(1);
  add("votes", votes);

  add("alone", Ticks(Start(1), 8).U8(3).U8(5).U8(4));
  add("raw", Start(3).U8(8).Piece(RawMessage()));
  SeedWriter observes;
  observes.U8(0x81).U8(1);
  Put(observes, {.type = MessageType::kAppend, .from = 0, .term = 1,
                 .entries = 2});
  add("observes", Ticks(observes, 16));
}

// ---- raft_group_fuzz ----

void AddGroupSeeds(std::vector<Seed>& seeds) {
  // Elect, replicate, read; then one fault each.
  std::string steady = {0, 0, 0, 0, 1};
  for (int i = 0; i < 12; ++i) steady += std::string({0, 3, 7});
  for (int i = 0; i < 4; ++i) steady += std::string({10, 3, 7, 11, 9, 0, 3, 7});
  const std::string crash = std::string({12, 0, 0, 1, 1, 1}) + steady.substr(5);
  const std::string cut = std::string({14, 1, 0}) + steady.substr(5);
  const std::string wipe = std::string({15, 1, 2}) + steady.substr(5);
  seeds.push_back({"raft_group_fuzz", "steady", steady});
  seeds.push_back({"raft_group_fuzz", "crash", steady + crash});
  seeds.push_back({"raft_group_fuzz", "cut", steady + cut});
  seeds.push_back(
      {"raft_group_fuzz", "wipe", std::string({1, 1, 1, 1, 1}) +
                                      steady.substr(5) + wipe});
}

// ---- raft_store_fuzz: keys and values without their CRCs ----

raft::BootstrapRecord Record() {
  raft::BootstrapRecord record;
  record.cluster_id = ClusterId(Uuid(7, 7));
  record.salt = Uuid(8, 8);
  for (int32_t n = 1; n <= 3; ++n) {
    record.voters.push_back({NodeId(n),
                             DirectoryId(Uuid(static_cast<uint64_t>(n), 1)),
                             "host:1"});
  }
  return record;
}

std::string StoreSeed(const MemKvStore& kv, int flags) {
  SeedWriter out;
  out.U8(flags);
  const absl::Status scanned =
      kv.Scan("", "", [&](std::string_view key, std::string_view value) {
        constexpr std::string_view kKinds = "bdehtvx";
        out.U8(static_cast<int>(kKinds.find(key[0])));
        if (key.size() == 9) {
          out.U8(static_cast<int>(LoadBig64(key.data() + 1))).U8(0);
        }
        out.Piece(value.substr(4));
        return true;
      });
  INVARIANT(scanned.ok(), scanned.ToString());
  return out.Finish();
}

void AddStoreSeeds(std::vector<Seed>& seeds) {
  MemKvStore kv;
  auto store = RaftLogStore::Open(&kv, DirectoryId(Uuid(1, 1)));
  INVARIANT(store.ok(), store.status().ToString());
  INVARIANT((*store)->WriteBootstrap(Record()).ok(), "bootstrap");
  INVARIANT((*store)->Reload().ok(), "reload");
  seeds.push_back({"raft_store_fuzz", "bootstrap", StoreSeed(kv, 1)});
  RaftWrite write;
  write.hard_state = raft::HardState{Term(5), {NodeId(1), DirectoryId(Uuid(1, 1))}};
  for (int64_t i = 2; i <= 6; ++i) {
    write.entries.push_back({Term(i < 4 ? 2 : 5), LogIndex(i),
                             raft::EntryType::kRecords,
                             Buffer::CopyOf("payload")});
  }
  INVARIANT((*store)->Write(write).ok(), "write");
  seeds.push_back({"raft_store_fuzz", "log", StoreSeed(kv, 1)});
  seeds.push_back({"raft_store_fuzz", "unsealed", StoreSeed(kv, 2)});
}

// ---- bootstrap_fuzz ----

void AddBootstrapSeeds(std::vector<Seed>& seeds) {
  const auto message = [](SeedWriter& out, MessageType type, int from,
                          const std::string& record) {
    out.U8(3).U8(static_cast<int>(type) - 18).U8(from).U8(0).U8(1).U8(1);
    if (record.empty()) {
      out.U8(0);
    } else {
      out.U8(1).Piece(record);
    }
  };
  const std::string record = EncodeBootstrapRecord(Record());
  SeedWriter forms;
  forms.U8(0).U8(2);
  message(forms, MessageType::kBootstrapAnswer, 2, "");
  message(forms, MessageType::kBootstrapAnswer, 3, "");
  forms.U8(1);
  message(forms, MessageType::kBootstrapProbe, 2, record);
  message(forms, MessageType::kBootstrapAck, 2, "");
  forms.U8(0).U8(0).U8(0);
  seeds.push_back({"bootstrap_fuzz", "forms", forms.Finish()});
  SeedWriter joins;
  joins.U8(1).U8(2);
  message(joins, MessageType::kBootstrapOffer, 1, record);
  joins.U8(1);
  message(joins, MessageType::kBootstrapOffer, 1, record);
  message(joins, MessageType::kBootstrapOffer, 3, record);
  seeds.push_back({"bootstrap_fuzz", "joins", joins.Finish()});
}

}  // namespace

std::vector<Seed> RaftSeeds() {
  std::vector<Seed> seeds;
  AddStepSeeds(seeds);
  AddGroupSeeds(seeds);
  AddStoreSeeds(seeds);
  AddBootstrapSeeds(seeds);
  return seeds;
}

}  // namespace sluice::fuzz
