#include "storage/dir_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

constexpr std::string_view kJournalName = "journal";
constexpr std::string_view kLockName = "lock";
constexpr std::string_view kDeletedSuffix = ".deleted-";

// "<partition directory>.deleted-<n>"
bool IsLeftover(std::string_view name) {
  const size_t suffix = name.rfind(kDeletedSuffix);
  if (suffix == std::string_view::npos) return false;
  const std::string_view number = name.substr(suffix + kDeletedSuffix.size());
  return !number.empty() &&
         number.find_first_not_of("0123456789") == std::string_view::npos &&
         ParsePartitionDirectoryName(name.substr(0, suffix)).has_value();
}

}  // namespace

std::string PartitionDirectoryName(const TopicPartition& tp) {
  return tp.ToString();
}

std::optional<TopicPartition> ParsePartitionDirectoryName(
    std::string_view name) {
  constexpr size_t kUuidDigits = 32;
  if (name.size() < kUuidDigits + 2) return std::nullopt;
  const auto id = Uuid::FromString(name.substr(0, kUuidDigits));
  int32_t partition = 0;
  if (!id.has_value() ||
      !absl::SimpleAtoi(AbslView(name.substr(kUuidDigits + 1)), &partition)) {
    return std::nullopt;
  }
  const TopicPartition tp{TopicId(*id), PartitionIndex(partition)};
  // One spelling each: no upper case, no leading zeros.
  if (partition < 0 || PartitionDirectoryName(tp) != name) return std::nullopt;
  return tp;
}

DirStore::DirStore(Deps deps, std::string directory)
    : deps_(deps), directory_(std::move(directory)) {}

std::string DirStore::JournalPath() const {
  return StrCat(directory_, "/", kJournalName);
}

// ---- Opening ----

absl::StatusOr<std::unique_ptr<DirStore>> DirStore::Open(
    Deps deps, const std::string& directory, const Expected& expected,
    std::string_view boot_id) {
  std::unique_ptr<DirStore> store(new DirStore(deps, directory));
  RETURN_IF_ERROR(CreateDirectories(*deps.fs, directory));
  ASSIGN_OR_RETURN(store->lock_,
                   deps.fs->Lock(StrCat(directory, "/", kLockName)));
  RETURN_IF_ERROR(store->Load(expected));
  RETURN_IF_ERROR(store->StartRun(boot_id));
  return store;
}

absl::Status DirStore::Load(const Expected& expected) {
  const auto bytes = ReadFile(*deps_.fs, JournalPath(), kJournalBytesMax);
  if (absl::IsNotFound(bytes.status()) ||
      (!bytes.ok() && MUTANT(kUnreadableJournalIsNone))) {
    return CreateJournal();
  }
  RETURN_IF_ERROR(bytes.status());
  auto parsed_or = ParseJournal(*bytes, JournalPath());
  if (CodeOf(parsed_or.status()) == ErrorCode::kStorageError) {
    return MakeError(ErrorCode::kStorageError,
                     StdView(parsed_or.status().message()), ". Set ",
                     directory_, " aside, and nothing beside it: ",
                     deps_.without_directory);
  }
  RETURN_IF_ERROR(parsed_or.status());
  ParsedJournal& parsed = *parsed_or;
  state_ = std::move(parsed.state);
  RETURN_IF_ERROR(CheckIdentity(expected));
  for (const auto& [tp, marks] : state_.partitions) {
    marks_bytes_ += MarksRecordBytes(marks);
  }
  previous_run_ = {state_.boot_id, state_.clean_stop};
  ASSIGN_OR_RETURN(journal_,
                   deps_.fs->Open(JournalPath(), OpenMode::kReadWrite));
  if (parsed.torn) RETURN_IF_ERROR(journal_->Truncate(parsed.valid_bytes));
  size_bytes_ = parsed.valid_bytes;
  // What a killed process wrote may live in the page cache alone. The name
  // too: its sync may have been what the last run died of.
  RETURN_IF_ERROR(Sync());
  return deps_.fs->SyncDirectory(directory_);
}

absl::Status DirStore::CheckIdentity(const Expected& expected) const {
  const DirectoryFacts& facts = state_.facts;
  if (expected.cluster_id.has_value() && facts.cluster_id.is_set() &&
      facts.cluster_id != *expected.cluster_id) {
    return MakeError(ErrorCode::kDataDirMismatch, directory_,
                     " belongs to cluster ", facts.cluster_id, ", not to ",
                     *expected.cluster_id, "; use another directory");
  }
  if (expected.node_id.has_value() && facts.node_id != NodeId(0) &&
      facts.node_id != *expected.node_id) {
    return MakeError(ErrorCode::kDataDirMismatch, directory_,
                     " belongs to node ", facts.node_id, ", not to ",
                     *expected.node_id, "; use another directory or node id");
  }
  return absl::OkStatus();
}

absl::Status DirStore::CreateJournal() {
  ASSIGN_OR_RETURN(const auto strays, ListPartitionDirectories());
  if (!strays.empty() && !MUTANT(kUnreadableJournalIsNone)) {
    return MakeError(ErrorCode::kStorageError, JournalPath(),
                     " is missing, but ", strays.front().name,
                     " is there; restore it, or set ", directory_,
                     " aside, and nothing beside it: ",
                     deps_.without_directory);
  }
  is_new_ = true;
  state_.facts.directory_id = DirectoryId(deps_.random->NextUuid());
  RETURN_IF_ERROR(ReplaceJournal());
  return deps_.fs->SyncDirectory(ParentDirectory(directory_));
}

absl::Status DirStore::StartRun(std::string_view boot_id) {
  boot_id_ = std::string(boot_id.substr(0, kBootIdBytesMax));
  // Unset: a loss that nobody has been told of yet, however that run ended.
  const bool untold =
      previous_run_.boot_id.empty() && !MUTANT(kCleanStopHidesPowerCut);
  const bool lost_page_cache =
      !is_new_ && (untold || (!previous_run_.clean() &&
                              previous_run_.boot_id != boot_id_));
  return WriteRunStarted(lost_page_cache ? "" : boot_id_);
}

absl::Status DirStore::WriteRunStarted(std::string boot_id) {
  JournalWriter writer(synced_bytes_);
  writer.AddRunStarted(boot_id);
  state_.boot_id = std::move(boot_id);
  state_.clean_stop.reset();
  return WriteDurably(std::move(writer).Finish());
}

absl::Status DirStore::ConfirmRun() {
  RETURN_IF_ERROR(CheckUsable());
  if (state_.boot_id == boot_id_) return absl::OkStatus();
  return WriteRunStarted(boot_id_);
}

absl::Status DirStore::SetIdentity(ClusterId cluster_id, NodeId node_id) {
  RETURN_IF_ERROR(CheckUsable());
  RETURN_IF_ERROR(CheckIdentity({cluster_id, node_id}));
  DirectoryFacts facts = state_.facts;
  facts.cluster_id = cluster_id;
  facts.node_id = node_id;
  if (facts == state_.facts) return absl::OkStatus();
  JournalWriter writer(synced_bytes_);
  writer.AddFacts(facts);
  RETURN_IF_ERROR(WriteDurably(std::move(writer).Finish()));
  state_.facts = facts;
  return absl::OkStatus();
}

// ---- Marks ----

const PartitionMarks* DirStore::Find(const TopicPartition& tp) const {
  const auto found = state_.partitions.find(tp);
  return found == state_.partitions.end() ? nullptr : &found->second;
}

RecoveryMarks DirStore::RecoveryMarksOf(const TopicPartition& tp) const {
  RecoveryMarks marks;
  const PartitionMarks* known = Find(tp);
  if (known == nullptr) return marks;
  marks.log_start = known->log_start;
  marks.recovery_point = known->recovery_point;
  marks.durable_mark = known->durable_mark;
  marks.high_watermark = known->high_watermark;
  marks.clean_shutdown = previous_run_.clean();
  marks.lossy = known->lossy;
  marks.epochs = known->epochs;
  return marks;
}

void DirStore::Put(const TopicPartition& tp, const PartitionMarks& marks) {
  const auto [entry, added] = state_.partitions.try_emplace(tp);
  if (!added) {
    if (entry->second == marks) return;
    marks_bytes_ -= MarksRecordBytes(entry->second);
  }
  entry->second = marks;
  marks_bytes_ += MarksRecordBytes(marks);
  dirty_.insert(tp);
}

void DirStore::Remove(const TopicPartition& tp) {
  const auto found = state_.partitions.find(tp);
  if (found == state_.partitions.end()) return;
  marks_bytes_ -= MarksRecordBytes(found->second);
  state_.partitions.erase(found);
  dirty_.insert(tp);
}

void DirStore::AddDirty(JournalWriter& writer) const {
  for (const TopicPartition& tp : dirty_) {
    if (const PartitionMarks* marks = Find(tp)) {
      writer.AddMarks(tp, *marks);
    } else {
      writer.AddRemoved(tp);
    }
  }
}

absl::StatusOr<std::optional<DirStore::Pending>> DirStore::Flush() {
  RETURN_IF_ERROR(CheckUsable());
  if (!dirty_.empty()) {
    JournalWriter writer(synced_bytes_);
    AddDirty(writer);
    RETURN_IF_ERROR(Write(std::move(writer).Finish()));
    dirty_.clear();
  }
  if (size_bytes_ == synced_bytes_) return std::optional<Pending>();
  return std::optional<Pending>(
      Pending{SyncSet{{journal_}, {}}, size_bytes_, journal_number_});
}

void DirStore::MarkSynced(const Pending& pending) {
  if (pending.journal != journal_number_) return;
  synced_bytes_ = std::max(synced_bytes_, pending.position);
}

absl::Status DirStore::FlushDurably() {
  ASSIGN_OR_RETURN(const auto pending, Flush());
  return pending.has_value() ? Sync() : absl::OkStatus();
}

bool DirStore::wants_compaction() const {
  return size_bytes_ >= kJournalCompactionBytes &&
         size_bytes_ >= 2 * marks_bytes_;
}

absl::Status DirStore::Compact() {
  RETURN_IF_ERROR(CheckUsable());
  RETURN_IF_ERROR(ReplaceJournal());
  dirty_.clear();
  return absl::OkStatus();
}

absl::Status DirStore::StopClean(BrokerEpoch broker_epoch) {
  RETURN_IF_ERROR(CheckUsable());
  stopped_ = true;
  JournalWriter writer(synced_bytes_);
  AddDirty(writer);
  // Last: when this one survives, so did all before it.
  writer.AddCleanStop(broker_epoch);
  return WriteDurably(std::move(writer).Finish());
}

// ---- The file ----

absl::Status DirStore::CheckUsable() const {
  RETURN_IF_ERROR(failed_);
  if (!stopped_) return absl::OkStatus();
  return MakeError(ErrorCode::kShuttingDown, directory_,
                   " was stopped cleanly; nothing is written any more");
}

// Whatever the reason was, also one that would pass: what has reached the disk
// is not known any more (ST4).
absl::Status DirStore::Fail(const absl::Status& why) {
  failed_ = MakeError(ErrorCode::kStorageError, StdView(why.message()));
  return failed_;
}

absl::Status DirStore::Write(std::string_view frames) {
  const auto bytes = static_cast<int64_t>(frames.size());
  if (size_bytes_ + bytes > kJournalBytesMax) {
    return MakeError(ErrorCode::kStorageFull, JournalPath(), " has ",
                     size_bytes_, " bytes, at most ", kJournalBytesMax,
                     " are allowed; compact it");
  }
  // Whole frames of a write that failed must not come back behind newer ones.
  if (has_leftover_) RETURN_IF_ERROR(journal_->Truncate(size_bytes_));
  has_leftover_ = true;
  RETURN_IF_ERROR(journal_->Write(size_bytes_, frames));
  has_leftover_ = false;
  size_bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status DirStore::WriteDurably(std::string_view frames) {
  RETURN_IF_ERROR(Write(frames));
  return Sync();
}

absl::Status DirStore::Sync() {
  const absl::Status synced = journal_->SyncData();
  if (!synced.ok()) return Fail(synced);
  synced_bytes_ = size_bytes_;
  return absl::OkStatus();
}

absl::Status DirStore::ReplaceJournal() {
  const std::string journal = EncodeJournal(state_);
  const std::string draft = StrCat(JournalPath(), ".tmp");
  {
    ASSIGN_OR_RETURN(const auto file,
                     deps_.fs->Open(draft, OpenMode::kCreate));
    RETURN_IF_ERROR(file->Truncate(0));
    RETURN_IF_ERROR(file->Write(0, journal));
    if (const absl::Status synced = file->SyncData(); !synced.ok()) {
      return Fail(synced);
    }
  }
  RETURN_IF_ERROR(deps_.fs->Rename(draft, JournalPath()));
  // From here on only the new file counts.
  if (const absl::Status synced = MUTANT(kJournalRenameNotSynced)
                                      ? absl::OkStatus()
                                      : deps_.fs->SyncDirectory(directory_);
      !synced.ok()) {
    return Fail(synced);
  }
  auto file = deps_.fs->Open(JournalPath(), OpenMode::kReadWrite);
  if (!file.ok()) return Fail(file.status());
  journal_ = *std::move(file);
  ++journal_number_;
  size_bytes_ = static_cast<int64_t>(journal.size());
  synced_bytes_ = size_bytes_;
  has_leftover_ = false;
  return absl::OkStatus();
}

// ---- Directories ----

absl::StatusOr<std::vector<PartitionDirectory>>
DirStore::ListPartitionDirectories() {
  ASSIGN_OR_RETURN(const auto entries, deps_.fs->List(directory_));
  std::vector<PartitionDirectory> present;
  for (const DirectoryEntry& entry : entries) {
    const auto tp = ParsePartitionDirectoryName(entry.name);
    if (entry.is_directory && tp.has_value()) {
      present.push_back({entry.name, *tp});
    }
  }
  return present;
}

std::string DirStore::PartitionPath(const TopicPartition& tp) const {
  return StrCat(directory_, "/", PartitionDirectoryName(tp));
}

absl::Status DirStore::RemoveLeftovers() {
  ASSIGN_OR_RETURN(const auto entries, deps_.fs->List(directory_));
  for (const DirectoryEntry& entry : entries) {
    if (!entry.is_directory || !IsLeftover(entry.name)) continue;
    RETURN_IF_ERROR(
        RemoveTree(*deps_.fs, StrCat(directory_, "/", entry.name)));
  }
  return absl::OkStatus();
}

}  // namespace sluice
