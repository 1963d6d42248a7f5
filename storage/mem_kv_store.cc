#include "storage/mem_kv_store.h"

#include <utility>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

absl::Status Failed(std::string_view what) {
  return MakeError(ErrorCode::kStorageError, "kv store: ", what,
                   " failed; open it again");
}

}  // namespace

bool MemKvStore::Breaks(Operation operation) const {
  for (auto& [id, fault] : faults_) {
    if (fault.operation != operation || fault.left == 0) continue;
    if (fault.left != kForEver) --fault.left;
    return true;
  }
  return false;
}

absl::Status MemKvStore::CheckRead() const {
  if (reads_fail_ || Breaks(Operation::kRead)) return Failed("a read");
  return absl::OkStatus();
}

uint64_t MemKvStore::BreakDisk(Operation operation, int count) {
  faults_[next_fault_] = {operation, count};
  return next_fault_++;
}

absl::Status MemKvStore::Refuse(absl::Status why) {
  failed_ = true;
  return why;
}

absl::StatusOr<std::optional<std::string>> MemKvStore::Get(
    std::string_view key) const {
  RETURN_IF_ERROR(CheckRead());
  const auto found = current_.find(key);
  if (found == current_.end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

absl::Status MemKvStore::Scan(std::string_view from, std::string_view end,
                              const Visitor& visit) const {
  RETURN_IF_ERROR(CheckRead());
  for (auto it = current_.lower_bound(from); it != current_.end(); ++it) {
    if (!end.empty() && it->first >= end) break;
    if (!visit(it->first, it->second)) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<KvStore::KeyValue>> MemKvStore::Last(
    std::string_view from, std::string_view end) const {
  RETURN_IF_ERROR(CheckRead());
  auto it = end.empty() ? current_.end() : current_.lower_bound(end);
  if (it == current_.begin()) return std::optional<KeyValue>();
  --it;
  if (it->first < from) return std::optional<KeyValue>();
  return std::optional<KeyValue>(KeyValue(it->first, it->second));
}

void MemKvStore::ApplyTo(Map& map, const KvBatch& batch) {
  for (const KvBatch::Op& op : batch.ops()) {
    switch (op.kind) {
      case KvBatch::Kind::kPut: map[op.key] = op.value; break;
      case KvBatch::Kind::kDelete: map.erase(op.key); break;
      case KvBatch::Kind::kDeleteRange:
        if (op.key < op.value) {
          map.erase(map.lower_bound(op.key), map.lower_bound(op.value));
        }
        break;
    }
  }
}

absl::Status MemKvStore::Write(const KvBatch& batch, Sync sync) {
  if (failed_) return Failed("an earlier write");
  if (full_) {
    return Refuse(MakeError(ErrorCode::kStorageFull,
                            "kv store: no room for a write; make some and open "
                            "it again"));
  }
  if (writes_to_failure_ == 0 || Breaks(Operation::kWrite)) {
    return Refuse(Failed("a write"));
  }
  if (writes_to_failure_ > 0) --writes_to_failure_;
  ApplyTo(current_, batch);
  unsynced_.push_back(batch);
  if (sync == Sync::kYes) {
    for (const KvBatch& earlier : unsynced_) ApplyTo(synced_, earlier);
    unsynced_.clear();
    ++synced_writes_;
  }
  return absl::OkStatus();
}

// ---- Checkpoints: each key and value behind its length ----

absl::StatusOr<std::vector<KvFile>> MemKvStore::Checkpoint(
    const std::string& path) {
  if (files_ == nullptr) {
    return MakeError(ErrorCode::kStorageError,
                     "kv store: it was given no place for checkpoints");
  }
  if (failed_) return Failed("an earlier write");
  RETURN_IF_ERROR(CheckRead());
  // A checkpoint takes what is on the disk: what is in memory goes there first.
  for (const KvBatch& earlier : std::exchange(unsynced_, {})) {
    ApplyTo(synced_, earlier);
  }
  std::string content;
  for (const auto& [key, value] : current_) {
    for (const std::string* bytes : {&key, &value}) {
      PutBig32(content, static_cast<uint32_t>(bytes->size()));
      content += *bytes;
    }
  }
  RETURN_IF_ERROR(files_->CreateDirectory(path));
  ASSIGN_OR_RETURN(auto file, files_->Open(path + "/" + kCheckpointFile,
                                           OpenMode::kCreateExclusive));
  RETURN_IF_ERROR(file->Write(0, content));
  return std::vector<KvFile>{{kCheckpointFile,
                              static_cast<int64_t>(content.size()),
                              Crc32c(content)}};
}

absl::StatusOr<std::unique_ptr<MemKvStore>> MemKvStore::OpenCheckpoint(
    FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(
      const std::string content,
      ReadFile(files, path + "/" + kCheckpointFile, int64_t{1} << 30));
  auto store = std::make_unique<MemKvStore>();
  std::string_view rest = content;
  const auto take = [&rest]() -> std::optional<std::string> {
    if (rest.size() < 4 || rest.size() - 4 < LoadBig32(rest.data())) {
      return std::nullopt;
    }
    std::string bytes(rest.substr(4, LoadBig32(rest.data())));
    rest.remove_prefix(4 + bytes.size());
    return bytes;
  };
  while (!rest.empty()) {
    auto key = take();
    auto value = take();
    if (!key.has_value() || !value.has_value()) return Failed("a checkpoint");
    store->current_[*std::move(key)] = *std::move(value);
  }
  return store;
}

void MemKvStore::Crash(Random* random) {
  const size_t kept =
      random == nullptr ? 0 : random->Below(unsynced_.size() + 1);
  for (size_t i = 0; i < kept; ++i) ApplyTo(synced_, unsynced_[i]);
  unsynced_.clear();
  current_ = synced_;
  failed_ = false;
  writes_to_failure_ = -1;
}

void MemKvStore::Reopen() {
  if (failed_) Crash();
}

void MemKvStore::Wipe() {
  synced_.clear();
  unsynced_.clear();
  current_.clear();
  failed_ = false;
  writes_to_failure_ = -1;
}

bool MemKvStore::FlipByte(std::string_view key, size_t position) {
  const auto found = current_.find(key);
  if (found == current_.end() || position >= found->second.size()) {
    return false;
  }
  found->second[position] ^= 0x40;
  const auto durable = synced_.find(key);
  if (durable != synced_.end()) durable->second = found->second;
  return true;
}

}  // namespace sluice
