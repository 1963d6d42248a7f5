#include "controller/raft_driver/raft_log_store.h"

#include <algorithm>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"
#include "controller/raft_driver/bootstrap_codec.h"

namespace sluice {
namespace {

using raft::Entry;
using raft::HardState;
using raft::TermStart;

constexpr std::string_view kBootstrapKey = "b";
constexpr std::string_view kDirectoryKey = "d";
constexpr std::string_view kHardStateKey = "h";
constexpr std::string_view kVersionKey = "v";
// Nobody counts so far: a greater term or index was never written, and
// counting on from one would overflow.
constexpr int64_t kCountMax = int64_t{1} << 62;

std::string EntryKey(LogIndex index) {
  std::string key = "e";
  PutBig64(key, static_cast<uint64_t>(index.value()));
  return key;
}

std::string TermKey(Term term) {
  std::string key = "t";
  PutBig64(key, static_cast<uint64_t>(term.value()));
  return key;
}

absl::Status Damaged(std::string_view what) {
  return MakeError(ErrorCode::kStorageError, "raft log: ", what,
                   " is damaged; rejoin with an empty directory");
}

std::string Seal(std::string_view key, std::string_view body) {
  std::string value;
  PutBig32(value, ExtendCrc32c(Crc32c(key), body));
  value.append(body);
  return value;
}

absl::StatusOr<std::string_view> Unseal(std::string_view key,
                                        std::string_view value,
                                        std::string_view what) {
  if (value.size() < 4) return Damaged(what);
  const std::string_view body = value.substr(4);
  if (LoadBig32(value.data()) != ExtendCrc32c(Crc32c(key), body) &&
      !MUTANT(kSealUnchecked)) {
    return Damaged(what);
  }
  return body;
}

std::string EncodeHardState(const HardState& state) {
  std::string body;
  PutBig64(body, static_cast<uint64_t>(state.term.value()));
  PutBig32(body, static_cast<uint32_t>(state.vote.node.value()));
  body += state.vote.directory.ToBytes();
  return body;
}

std::string EncodeEntry(const Entry& entry) {
  std::string body;
  body.reserve(12 + entry.payload.size());
  PutBig64(body, static_cast<uint64_t>(entry.term.value()));
  PutBig32(body, static_cast<uint32_t>(entry.type));
  body.append(entry.payload.view());
  return body;
}

absl::StatusOr<Entry> DecodeEntry(std::string_view key,
                                  std::string_view value) {
  if (key.size() != 9) return Damaged("the key of an entry");
  const LogIndex index(static_cast<int64_t>(LoadBig64(key.data() + 1)));
  ASSIGN_OR_RETURN(const std::string_view body,
                   Unseal(key, value, StrCat("entry ", index)));
  if (body.size() < 12) return Damaged(StrCat("entry ", index));
  return Entry{Term(static_cast<int64_t>(LoadBig64(body.data()))), index,
               static_cast<raft::EntryType>(LoadBig32(body.data() + 8)),
               Buffer::CopyOf(body.substr(12))};
}

void PutSealed(KvBatch& batch, std::string_view key, std::string_view body) {
  batch.Put(key, Seal(key, body));
}

std::string Big64(int64_t value) {
  std::string text;
  PutBig64(text, static_cast<uint64_t>(value));
  return text;
}

// Each term begins behind the one before it.
bool RiseStrictly(const std::vector<TermStart>& starts) {
  return std::adjacent_find(starts.begin(), starts.end(),
                            [](const TermStart& a, const TermStart& b) {
                              return a.term >= b.term || a.first >= b.first;
                            }) == starts.end();
}

// nullopt: there is no such key.
absl::StatusOr<std::optional<std::string>> GetSealed(const KvStore& kv,
                                                     std::string_view key,
                                                     std::string_view what) {
  ASSIGN_OR_RETURN(const std::optional<std::string> value, kv.Get(key));
  if (!value.has_value()) return std::optional<std::string>();
  ASSIGN_OR_RETURN(const std::string_view body, Unseal(key, *value, what));
  return std::optional<std::string>(std::string(body));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RaftLogStore>> RaftLogStore::Open(
    KvStore* kv, DirectoryId directory_id) {
  std::unique_ptr<RaftLogStore> store(new RaftLogStore(kv, directory_id));
  RETURN_IF_ERROR(store->Load());
  return store;
}

absl::Status RaftLogStore::Reload() { return Load(); }

absl::Status RaftLogStore::CheckOwner() const {
  ASSIGN_OR_RETURN(const auto version,
                   GetSealed(*kv_, kVersionKey, "the format version"));
  if (!version.has_value() || version->size() != 4) {
    return Damaged("the format version");
  }
  if (LoadBig32(version->data()) > kFormatVersion) {
    return MakeError(ErrorCode::kUnsupportedFormat, "raft log: format ",
                     LoadBig32(version->data()), ", this program knows ",
                     kFormatVersion, "; run the newer release");
  }
  ASSIGN_OR_RETURN(const auto owner,
                   GetSealed(*kv_, kDirectoryKey, "the directory id"));
  if (!owner.has_value() || *owner != directory_id_.ToBytes()) {
    return MakeError(ErrorCode::kDataDirMismatch,
                     "raft log: it belongs to another directory than ",
                     directory_id_,
                     "; a voter is its disk, a copy may not vote");
  }
  return absl::OkStatus();
}

absl::Status RaftLogStore::Load() {
  bootstrap_.reset();
  state_ = raft::StableState();
  cache_.clear();
  cached_bytes_ = 0;
  written_terms_.clear();
  bool empty = true;
  const absl::Status readable =
      kv_->Scan("", "", [&](auto, auto) { return empty = false; });
  if (!readable.ok() && !MUTANT(kUnreadableStoreIsNew)) return readable;
  if (empty) return absl::OkStatus();
  RETURN_IF_ERROR(CheckOwner());
  ASSIGN_OR_RETURN(const auto record,
                   GetSealed(*kv_, kBootstrapKey, "the bootstrap record"));
  if (!record.has_value()) return Damaged("the bootstrap record");
  auto decoded = DecodeBootstrapRecord(*record);
  if (!decoded.ok() || decoded->voters.empty()) {
    return Damaged("the bootstrap record");
  }
  bootstrap_ = *std::move(decoded);
  RETURN_IF_ERROR(LoadHardState());
  return LoadLog();
}

absl::Status RaftLogStore::LoadHardState() {
  ASSIGN_OR_RETURN(const auto body,
                   GetSealed(*kv_, kHardStateKey, "the hard state"));
  if (!body.has_value()) return Damaged("the hard state");
  if (body->size() < 12) return Damaged("the hard state");
  state_.hard_state.term = Term(static_cast<int64_t>(LoadBig64(body->data())));
  if (state_.hard_state.term.value() > kCountMax) {
    return Damaged("the hard state");
  }
  state_.hard_state.vote.node =
      NodeId(static_cast<int32_t>(LoadBig32(body->data() + 8)));
  const auto directory = DirectoryId::FromBytes(
      std::string_view(*body).substr(12));
  if (!directory.has_value()) return Damaged("the hard state");
  state_.hard_state.vote.directory = *directory;
  return absl::OkStatus();
}

absl::Status RaftLogStore::LoadLog() {
  absl::Status bad;
  RETURN_IF_ERROR(kv_->Scan("t", "u", [&](auto key, auto value) {
    auto body = Unseal(key, value, "a term's start");
    if (!body.ok() || key.size() != 9 || body->size() != 8) {
      bad = Damaged("a term's start");
      return false;
    }
    state_.term_starts.push_back(
        {Term(static_cast<int64_t>(LoadBig64(key.data() + 1))),
         LogIndex(static_cast<int64_t>(LoadBig64(body->data())))});
    return true;
  }));
  RETURN_IF_ERROR(bad);
  std::optional<Entry> first;
  RETURN_IF_ERROR(kv_->Scan("e", "f", [&](auto key, auto value) {
    auto entry = DecodeEntry(key, value);
    if (entry.ok()) first = *std::move(entry);
    bad = entry.status();
    return false;
  }));
  RETURN_IF_ERROR(bad);
  ASSIGN_OR_RETURN(const auto last_value, kv_->Last("e", "f"));
  if (!first.has_value() || !last_value.has_value()) return Damaged("the log");
  ASSIGN_OR_RETURN(const Entry last,
                   DecodeEntry(last_value->first, last_value->second));
  state_.first_index = first->index;
  state_.last_index = last.index;
  const auto& starts = state_.term_starts;
  const bool consistent =
      first->index == raft::kBootstrapIndex && !starts.empty() &&
      starts.front() == TermStart{first->term, first->index} &&
      starts.back().term == last.term && starts.back().first <= last.index &&
      last.index.value() <= kCountMax &&
      first->term.value() >= 0 && RiseStrictly(starts) &&
      last.term <= state_.hard_state.term;
  if (!consistent) return Damaged("the log's list of terms");
  written_terms_ = starts;
  return absl::OkStatus();
}

absl::Status RaftLogStore::WriteBootstrap(
    const raft::BootstrapRecord& record) {
  INVARIANT(!bootstrap_.has_value(), "a second bootstrap record");
  const std::string encoded = EncodeBootstrapRecord(record);
  std::string version;
  PutBig32(version, kFormatVersion);
  KvBatch batch;
  PutSealed(batch, kVersionKey, version);
  PutSealed(batch, kDirectoryKey, directory_id_.ToBytes());
  PutSealed(batch, kBootstrapKey, encoded);
  PutSealed(batch, kHardStateKey, EncodeHardState({raft::kBootstrapTerm, {}}));
  const Entry entry{raft::kBootstrapTerm, raft::kBootstrapIndex,
                    raft::EntryType::kBootstrap, Buffer::CopyOf(encoded)};
  PutSealed(batch, EntryKey(entry.index), EncodeEntry(entry));
  PutSealed(batch, TermKey(entry.term), Big64(entry.index.value()));
  return kv_->Write(batch, KvStore::Sync::kYes);
}

void RaftLogStore::Cache(const RaftWrite& write) {
  if (write.truncate_from.has_value()) {
    while (!cache_.empty() && cache_.back().index >= *write.truncate_from) {
      cached_bytes_ -= cache_.back().Bytes();
      cache_.pop_back();
    }
  }
  for (const Entry& entry : write.entries) {
    INVARIANT(cache_.empty() || cache_.back().index.Next() == entry.index,
              "entry ", entry.index, " after ", cache_.back().index);
    cached_bytes_ += entry.Bytes();
    cache_.push_back(entry);
  }
  while (cached_bytes_ > kCacheBytesMax) {
    cached_bytes_ -= cache_.front().Bytes();
    cache_.pop_front();
  }
}

absl::Status RaftLogStore::Write(const RaftWrite& write) {
  KvBatch batch;
  if (write.hard_state.has_value()) {
    PutSealed(batch, kHardStateKey, EncodeHardState(*write.hard_state));
  }
  if (write.truncate_from.has_value()) {
    batch.DeleteRange(EntryKey(*write.truncate_from), "f");
    while (!written_terms_.empty() &&
           written_terms_.back().first >= *write.truncate_from) {
      batch.Delete(TermKey(written_terms_.back().term));
      written_terms_.pop_back();
    }
  }
  for (const Entry& entry : write.entries) {
    PutSealed(batch, EntryKey(entry.index), EncodeEntry(entry));
    if (written_terms_.empty() || written_terms_.back().term != entry.term) {
      written_terms_.push_back({entry.term, entry.index});
      PutSealed(batch, TermKey(entry.term), Big64(entry.index.value()));
    }
  }
  return kv_->Write(batch, KvStore::Sync::kYes);
}

absl::Status RaftLogStore::ReadStored(LogIndex from, LogIndex end,
                                      int entries_max, size_t bytes_max,
                                      std::vector<Entry>& out) const {
  size_t bytes = 0;
  LogIndex expected = from;
  absl::Status bad;
  RETURN_IF_ERROR(kv_->Scan(
      EntryKey(from), EntryKey(end), [&](auto key, auto value) {
        auto entry = DecodeEntry(key, value);
        if (!entry.ok()) {
          bad = entry.status();
          return false;
        }
        if (entry->index != expected) return false;
        if (!out.empty() &&
            (static_cast<int>(out.size()) >= entries_max ||
             bytes + entry->Bytes() > bytes_max)) {
          return false;
        }
        bytes += entry->Bytes();
        out.push_back(*std::move(entry));
        expected = expected.Next();
        return true;
      }));
  RETURN_IF_ERROR(bad);
  if (out.empty()) return Damaged(StrCat("entry ", from, ": it is missing"));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Entry>> RaftLogStore::Read(LogIndex from,
                                                      LogIndex end,
                                                      int entries_max,
                                                      size_t bytes_max) const {
  INVARIANT(from < end, "read ", from, "..", end);
  std::vector<Entry> result;
  if (cache_.empty() || from < cache_.front().index) {
    const LogIndex stored_end =
        cache_.empty() ? end : std::min(end, cache_.front().index);
    RETURN_IF_ERROR(
        ReadStored(from, stored_end, entries_max, bytes_max, result));
    return result;
  }
  size_t bytes = 0;
  for (LogIndex i = from; i < end && i <= cache_.back().index; i = i.Next()) {
    const Entry& entry = cache_[i - cache_.front().index];
    if (!result.empty() && (static_cast<int>(result.size()) >= entries_max ||
                            bytes + entry.Bytes() > bytes_max)) {
      break;
    }
    bytes += entry.Bytes();
    result.push_back(entry);
  }
  if (result.empty()) return Damaged(StrCat("entry ", from, ": it is missing"));
  return result;
}

}  // namespace sluice
