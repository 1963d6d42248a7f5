// DirStore::Open on an arbitrary journal (storage/dir_journal.h; ST2, ST4).
//
// Property: the answer is a state or one of the errors that are promised; an
// error changes nothing. A state is what the valid bytes alone say, whole
// frames and nothing behind them; written anew it is the same state; opened
// again after a power cut the directory says the same, and that the run before
// was not stopped; marks put then, and a clean stop, are there afterwards.
//
// Input: flags, then the journal. CRCs are repaired on demand: else hardly a
// change would get past them.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/random.h"
#include "common/env/mem_file_system.h"
#include "storage/dir_store.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

constexpr const char* kDirectory = "/data/d";
constexpr const char* kJournal = "/data/d/journal";

enum Flag : uint8_t {
  kRepairHeader = 1,
  kRepairFrames = 2,
  kExpectIdentity = 4,
  kCompact = 8,
};

const ClusterId kCluster(Uuid(3, 3));
const NodeId kNode(5);

void Repair(std::string& journal, uint8_t flags) {
  if (journal.size() < kJournalHeaderBytes) return;
  if ((flags & kRepairHeader) != 0) {
    constexpr size_t kCrcAt = kJournalHeaderBytes - 4;
    StoreBig32(journal.data() + kCrcAt,
               Crc32c(std::string_view(journal).substr(0, kCrcAt)));
  }
  if ((flags & kRepairFrames) == 0) return;
  size_t at = kJournalHeaderBytes;
  while (at + kFrameHeaderBytes <= journal.size()) {
    const size_t length = LoadBig32(journal.data() + at + 8);
    if (length > journal.size() - at - kFrameHeaderBytes) return;
    const size_t bytes = kFrameHeaderBytes + length;
    StoreBig32(journal.data() + at + 4,
               Crc32c(std::string_view(journal).substr(at + 8, bytes - 8)));
    at += bytes;
  }
}

void CheckParse(const std::string& journal) {
  const auto parsed = ParseJournal(journal, "j");
  if (!parsed.ok()) return;
  const auto valid = static_cast<size_t>(parsed->valid_bytes);
  INVARIANT(valid <= journal.size() &&
                parsed->torn == (valid < journal.size()),
            parsed->valid_bytes, " valid bytes of ", journal.size());
  const auto whole = ParseJournal(journal.substr(0, valid), "j");
  INVARIANT(whole.ok() && !whole->torn && whole->state == parsed->state,
            "the valid bytes alone say something else: ",
            whole.status().ToString());
  const auto anew = ParseJournal(EncodeJournal(parsed->state), "j");
  INVARIANT(anew.ok() && !anew->torn && anew->state == parsed->state,
            "written anew: ", anew.status().ToString());
}

class OneDirectory {
 public:
  OneDirectory(std::string journal, uint8_t flags)
      : journal_(std::move(journal)), flags_(flags) {
    absl::Status done = CreateDirectories(fs_, kDirectory);
    const auto file = fs_.Open(kJournal, OpenMode::kCreate);
    INVARIANT(file.ok(), file.status().ToString());
    done.Update((*file)->Write(0, journal_));
    done.Update(fs_.SyncAll("/"));
    INVARIANT(done.ok(), done.ToString());
    if ((flags_ & kExpectIdentity) != 0) expected_ = {kCluster, kNode};
  }

  void Check() {
    auto store = Open("first");
    if (!store.ok()) return CheckRefused(store.status());
    const DirectoryFacts facts = (*store)->facts();
    const auto partitions = (*store)->partitions();
    CheckAgainst(**store);
    const absl::Status confirmed = (*store)->ConfirmRun();
    INVARIANT(confirmed.ok(), confirmed.ToString());
    store->reset();
    fs_.CrashLosingAll();

    store = Open("second");
    INVARIANT(store.ok(), "opened, then: ", store.status().ToString());
    INVARIANT((*store)->facts() == facts &&
                  (*store)->partitions() == partitions,
              "the second opening says something else");
    INVARIANT(!(*store)->previous_run().clean() &&
                  (*store)->previous_run().boot_id == "first",
              "the run before is called ", (*store)->previous_run().boot_id);
    CheckUse(*std::move(store), partitions);
  }

 private:
  absl::StatusOr<std::unique_ptr<DirStore>> Open(std::string_view boot_id) {
    return DirStore::Open({&fs_, &random_}, kDirectory, expected_, boot_id);
  }

  void CheckRefused(const absl::Status& status) {
    const ErrorCode code = CodeOf(status);
    const bool promised = code == ErrorCode::kStorageError ||
                          code == ErrorCode::kUnsupportedFormat ||
                          (code == ErrorCode::kDataDirMismatch &&
                           expected_.node_id.has_value());
    INVARIANT(promised, "not promised: ", status.ToString());
    INVARIANT(fs_.Peek(kJournal) == journal_, "a refusal changed the journal");
    INVARIANT(CodeOf(Open("again").status()) == code,
              "refused, then something else");
  }

  // What Open says is what the bytes say.
  void CheckAgainst(const DirStore& store) {
    const auto parsed = ParseJournal(journal_, "j");
    INVARIANT(parsed.ok(), "opened, though: ", parsed.status().ToString());
    INVARIANT(store.facts() == parsed->state.facts &&
                  store.partitions() == parsed->state.partitions &&
                  store.previous_run().boot_id == parsed->state.boot_id &&
                  store.previous_run().clean_broker_epoch ==
                      parsed->state.clean_stop,
              "the store says something else than its journal");
  }

  void CheckUse(std::unique_ptr<DirStore> store,
                std::map<TopicPartition, PartitionMarks> partitions) {
    const TopicPartition tp{TopicId(Uuid(9, 9)), PartitionIndex(1)};
    PartitionMarks marks;
    marks.durable_mark = Offset(7);
    marks.epochs.Assign(LeaderEpoch(3), Offset(2));
    marks.topic_name = std::string("orders");
    store->Put(tp, marks);
    partitions[tp] = marks;
    if ((flags_ & kCompact) != 0) {
      const absl::Status compacted = store->Compact();
      INVARIANT(compacted.ok(), compacted.ToString());
    }
    const absl::Status stopped = store->StopClean(BrokerEpoch(77));
    INVARIANT(stopped.ok(), stopped.ToString());
    store.reset();
    fs_.CrashLosingAll();
    const auto last = Open("third");
    INVARIANT(last.ok(), last.status().ToString());
    INVARIANT((*last)->partitions() == partitions,
              "what was put is not there after a clean stop");
    INVARIANT((*last)->previous_run().clean_broker_epoch == BrokerEpoch(77),
              "a clean stop was forgotten");
  }

  const std::string journal_;
  const uint8_t flags_;
  MemFileSystem fs_;
  Random random_{1};
  DirStore::Expected expected_;
};

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  const uint8_t flags = input.U8();
  std::string journal(input.Rest());
  sluice::fuzz::Repair(journal, flags);
  sluice::fuzz::CheckParse(journal);
  sluice::fuzz::OneDirectory(std::move(journal), flags).Check();
  return 0;
}
