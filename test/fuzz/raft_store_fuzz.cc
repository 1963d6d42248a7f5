// RaftLogStore::Open on arbitrary keys and values (raft_driver/raft_log_store.h).
//
// Property: the answer is a store or one of the errors that are promised,
// twice the same one. A store starts a RaftCore without breaking an INVARIANT;
// every range of its log reads as contiguous entries of the terms that it told,
// or as STORAGE_ERROR; what is written to it then is there when it is opened
// again.
//
// Input: pieces, each a key and a value. Values are sealed (their CRC is made
// right) on demand: else hardly any would be believed.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "controller/raft/raft_core.h"
#include "controller/raft_driver/bootstrap_codec.h"
#include "controller/raft_driver/raft_log_store.h"
#include "storage/mem_kv_store.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

using raft::Entry;

const DirectoryId kDirectory(Uuid(1, 1));
// Reads further apart than this are not tried.
constexpr int64_t kEntriesMax = 64;

enum Flag : uint8_t {
  kSealed = 1,     // every value gets a right CRC
  kWithOwner = 2,  // version and directory are right
};

void Put(KvBatch& batch, std::string_view key, std::string_view body,
         bool sealed) {
  std::string value;
  if (sealed) PutBig32(value, ExtendCrc32c(Crc32c(key), body));
  value += body;
  batch.Put(key, value);
}

void Fill(FuzzInput& in, MemKvStore& kv) {
  KvBatch batch;
  const uint8_t flags = in.U8();
  const bool sealed = (flags & kSealed) != 0;
  if ((flags & kWithOwner) != 0) {
    Put(batch, "v", std::string("\0\0\0\1", 4), true);
    Put(batch, "d", kDirectory.ToBytes(), true);
  }
  while (!in.empty()) {
    constexpr std::string_view kKinds = "bdehtvx";
    std::string key(1, kKinds[in.Below(kKinds.size())]);
    if (key == "e" || key == "t") {
      // Small numbers, mostly: keys that follow each other.
      const int8_t number = in.I8();
      PutBig64(key, number == INT8_MIN ? in.U64()
                                       : static_cast<uint64_t>(number));
      if (in.Below(16) == 15) key.pop_back();
    }
    Put(batch, key, in.Piece(), sealed);
  }
  const absl::Status written = kv.Write(batch, KvStore::Sync::kYes);
  INVARIANT(written.ok(), written.ToString());
}

void CheckRefused(const absl::Status& status) {
  const ErrorCode code = CodeOf(status);
  INVARIANT(code == ErrorCode::kStorageError ||
                code == ErrorCode::kUnsupportedFormat ||
                code == ErrorCode::kDataDirMismatch,
            "not promised: ", status.ToString());
}

void CheckReads(const RaftLogStore& store) {
  const raft::StableState& state = store.stable_state();
  const LogIndex end =
      std::min(state.last_index.Next(), state.first_index + kEntriesMax);
  for (LogIndex from = state.first_index; from < end; from = from.Next()) {
    const auto entries = store.Read(from, end, 16, 1 << 16);
    if (!entries.ok()) {
      INVARIANT(CodeOf(entries.status()) == ErrorCode::kStorageError,
                "not promised: ", entries.status().ToString());
      continue;
    }
    INVARIANT(!entries->empty() && entries->size() <= 16, "read of ", from,
              " gives ", entries->size());
    LogIndex expected = from;
    for (const Entry& entry : *entries) {
      INVARIANT(entry.index == expected, "read ", entry.index, " at ",
                expected);
      expected = expected.Next();
    }
  }
}

// What a node does with it: start, and elect itself when it is alone.
void CheckCore(const RaftLogStore& store) {
  raft::RaftConfig config;
  config.self = {NodeId(1), kDirectory};
  config.cluster_id = ClusterId(Uuid(7, 7));
  config.voters = {config.self};
  Random random(1);
  raft::RaftCore core(config, store.stable_state(), store, random);
  INVARIANT(core.log().last_index() == store.stable_state().last_index,
            "a core of another log");
  core.Tick();
  for (int i = 0; i < 100 && core.HasReady(); ++i) {
    const raft::Ready ready = core.TakeReady();
    // Entries that are missing, or of another term, end a node by name.
    if (!ready.fault.ok()) {
      INVARIANT(CodeOf(ready.fault) == ErrorCode::kStorageError,
                "not promised: ", ready.fault.ToString());
      return;
    }
    if (ready.write_id != 0) core.Persisted(ready.write_id);
  }
}

void CheckWrite(MemKvStore& kv, RaftLogStore& store) {
  const raft::StableState state = store.stable_state();
  // The greatest that are taken; nothing counts on from them.
  constexpr int64_t kCountMax = int64_t{1} << 62;
  if (state.hard_state.term.value() == kCountMax ||
      state.last_index.value() == kCountMax) {
    return;
  }
  const Term term = state.hard_state.term.Next();
  const Entry entry{term, state.last_index.Next(), raft::EntryType::kNoOp,
                    Buffer()};
  const RaftWrite write{raft::HardState{term, {}}, std::nullopt, {entry}};
  const absl::Status written = store.Write(write);
  INVARIANT(written.ok(), written.ToString());
  const auto again = RaftLogStore::Open(&kv, kDirectory);
  INVARIANT(again.ok(), "written to, then: ", again.status().ToString());
  const raft::StableState& now = (*again)->stable_state();
  const raft::TermStart start{term, entry.index};
  INVARIANT(now.last_index == entry.index && now.hard_state.term == term &&
                now.term_starts.back() == start,
            "what was written is not there");
  const auto read = (*again)->Read(entry.index, entry.index.Next(), 1, 100);
  INVARIANT(read.ok() && read->size() == 1 && read->front().term == term,
            read.status().ToString());
}

void Check(MemKvStore& kv) {
  auto store = RaftLogStore::Open(&kv, kDirectory);
  if (!store.ok()) {
    CheckRefused(store.status());
    const auto again = RaftLogStore::Open(&kv, kDirectory);
    INVARIANT(again.status() == store.status(), "refused, then: ",
              again.status().ToString());
    return;
  }
  if (!(*store)->bootstrap().has_value()) return;  // empty
  CheckReads(**store);
  CheckCore(**store);
  CheckWrite(kv, **store);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  sluice::MemKvStore kv;
  sluice::fuzz::Fill(input, kv);
  sluice::fuzz::Check(kv);
  return 0;
}
