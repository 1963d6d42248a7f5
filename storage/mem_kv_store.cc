#include "storage/mem_kv_store.h"

#include "common/base/error.h"

namespace sluice {
namespace {

absl::Status Failed(std::string_view what) {
  return MakeError(ErrorCode::kStorageError, "kv store: ", what,
                   " failed; open it again");
}

}  // namespace

absl::StatusOr<std::optional<std::string>> MemKvStore::Get(
    std::string_view key) const {
  if (reads_fail_) return Failed("a read");
  const auto found = current_.find(key);
  if (found == current_.end()) return std::optional<std::string>();
  return std::optional<std::string>(found->second);
}

absl::Status MemKvStore::Scan(std::string_view from, std::string_view end,
                              const Visitor& visit) const {
  if (reads_fail_) return Failed("a read");
  for (auto it = current_.lower_bound(from); it != current_.end(); ++it) {
    if (!end.empty() && it->first >= end) break;
    if (!visit(it->first, it->second)) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<KvStore::KeyValue>> MemKvStore::Last(
    std::string_view from, std::string_view end) const {
  if (reads_fail_) return Failed("a read");
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
  if (writes_to_failure_ == 0) {
    failed_ = true;
    return Failed("a write");
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

void MemKvStore::Crash(Random* random) {
  const size_t kept =
      random == nullptr ? 0 : random->Below(unsynced_.size() + 1);
  for (size_t i = 0; i < kept; ++i) ApplyTo(synced_, unsynced_[i]);
  unsynced_.clear();
  current_ = synced_;
  failed_ = false;
  writes_to_failure_ = -1;
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
