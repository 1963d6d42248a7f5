#include "storage/rocks_kv_store.h"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_checksum.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstring>
#include <optional>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

absl::Status FromRocks(const rocksdb::Status& status, std::string_view path,
                       std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  return MakeError(status.IsNoSpace() ? ErrorCode::kStorageFull
                                      : ErrorCode::kStorageError,
                   "RocksDB in ", path, ": ", what, ": ", status.ToString());
}

rocksdb::Slice ToSlice(std::string_view bytes) {
  return rocksdb::Slice(bytes.data(), bytes.size());
}

std::string_view ToView(const rocksdb::Slice& slice) {
  return std::string_view(slice.data(), slice.size());
}

rocksdb::Env* EnvOf(const RocksKvOptions& options) {
  return options.env != nullptr ? options.env : rocksdb::Env::Default();
}

constexpr int kBackgroundJobsMax = 2;

rocksdb::Options MakeOptions(const RocksKvOptions& ours) {
  rocksdb::Options options;
  options.create_if_missing = true;
  // The default mode stops silently at a damaged record and forgets all synced
  // keys after it. This one forgives only the last, torn, record.
  options.wal_recovery_mode =
      rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.recycle_log_file_num = 0;  // a reused file's old records could pass
  options.paranoid_checks = true;
  options.verify_sst_unique_id_in_manifest = true;
  options.track_and_verify_wals_in_manifest = true;
  options.write_buffer_size = ours.write_buffer_bytes;
  options.max_write_buffer_number = 2;
  options.max_total_wal_size = 4 * ours.write_buffer_bytes;
  options.max_background_jobs = kBackgroundJobsMax;
  options.max_open_files = ours.open_files_max;
  options.max_log_file_size = ours.info_log_bytes_max;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.compression = rocksdb::kNoCompression;
  options.file_checksum_gen_factory =
      rocksdb::GetFileChecksumGenCrc32cFactory();
  options.env = EnvOf(ours);
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(ours.block_cache_bytes);
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// --- a check of the WAL that RocksDB does not make ------------------------
// In all of its lenient modes RocksDB takes a record whose length points past
// the end of the file for a torn tail, also when one flipped bit made the
// length so and good records follow: they would be gone without an error. So
// the records are walked here first (format: db/log_format.h of RocksDB).
constexpr size_t kWalBlockBytes = 32768;
constexpr size_t kWalHeaderBytes = 7;  // masked crc 4, length 2, type 1; LE
constexpr uint8_t kWalFullType = 1;
constexpr uint8_t kWalFirstType = 2;

uint32_t LoadLittle(std::string_view bytes, size_t at, int count) {
  uint32_t value = 0;
  for (int i = count - 1; i >= 0; --i) {
    value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  }
  return value;
}

// The whole size of a good record at `at`; 0: there is none.
size_t WalRecordAt(std::string_view wal, size_t at) {
  const size_t block_end =
      std::min(wal.size(), (at / kWalBlockBytes + 1) * kWalBlockBytes);
  if (at + kWalHeaderBytes > block_end) return 0;
  const size_t length = LoadLittle(wal, at + 4, 2);
  if (at + kWalHeaderBytes + length > block_end || wal[at + 6] == 0) return 0;
  const uint32_t crc = Crc32c(wal.substr(at + 6, length + 1));
  const uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  return masked == LoadLittle(wal, at, 4) ? kWalHeaderBytes + length : 0;
}

// Where a bad record is followed by the start of a good one.
std::optional<size_t> DamageIn(std::string_view wal) {
  size_t at = 0;
  while (at < wal.size()) {
    const size_t block_left = kWalBlockBytes - at % kWalBlockBytes;
    if (block_left < kWalHeaderBytes) {
      at += block_left;
      continue;
    }
    const size_t size = WalRecordAt(wal, at);
    if (size == 0) break;
    at += size;
  }
  for (size_t next = at + 1; next + kWalHeaderBytes <= wal.size(); ++next) {
    const uint8_t type = static_cast<uint8_t>(wal[next + 6]);
    if (type != kWalFullType && type != kWalFirstType) continue;
    if (WalRecordAt(wal, next) > kWalHeaderBytes) return at;
  }
  return std::nullopt;
}

absl::Status CheckWals(const std::string& path, rocksdb::Env* env) {
  std::vector<std::string> names;
  if (!env->GetChildren(path, &names).ok()) return absl::OkStatus();  // new
  for (const std::string& name : names) {
    if (name.size() < 4 || name.substr(name.size() - 4) != ".log") continue;
    std::string wal;
    RETURN_IF_ERROR(FromRocks(
        rocksdb::ReadFileToString(env, path + "/" + name, &wal), path,
        "reading the WAL"));
    if (const auto at = DamageIn(wal); at.has_value()) {
      return MakeError(ErrorCode::kStorageError, "RocksDB in ", path, ": ",
                       name, " is damaged at byte ", *at,
                       " and good records follow; what was synced is lost "
                       "here: rejoin with an empty directory");
    }
  }
  return absl::OkStatus();
}

// --- room to open at all ---------------------------------------------------
// RocksDB writes while it opens, and where the disk has no room for that it
// ends the process by an assertion instead of an error. Nor does its Env do for
// the question: that asserts, too.
constexpr size_t kRoomBytes = 1 << 20;
constexpr char kRoomProbeName[] = "/room-probe";

// 0, or errno.
int WriteProbe(const std::string& probe) {
  const int fd =
      open(probe.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  const std::string bytes(kRoomBytes, 'r');
  int error = 0;
  for (size_t done = 0; done < bytes.size() && error == 0;) {
    const ssize_t got = write(fd, bytes.data() + done, bytes.size() - done);
    if (got >= 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && fdatasync(fd) != 0) error = errno;
  close(fd);
  return error;
}

absl::Status CheckRoom(const std::string& path) {
  if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return MakeError(errno == ENOSPC ? ErrorCode::kStorageFull
                                     : ErrorCode::kStorageError,
                     "cannot create directory ", path, ": ",
                     std::strerror(errno));
  }
  const std::string probe = path + kRoomProbeName;
  const int error = WriteProbe(probe);
  if (unlink(probe.c_str()) != 0 && error == 0) {
    return MakeError(ErrorCode::kStorageError, "cannot remove ", probe, ": ",
                     std::strerror(errno));
  }
  if (error == 0) return absl::OkStatus();
  if (error != ENOSPC && error != EDQUOT) {
    return MakeError(ErrorCode::kStorageError, "cannot write ", probe, ": ",
                     std::strerror(error));
  }
  struct statvfs disk{};
  const uint64_t free_bytes =
      statvfs(path.c_str(), &disk) == 0
          ? uint64_t{disk.f_bavail} * disk.f_frsize
          : 0;
  return MakeError(ErrorCode::kStorageFull, path, " has no room for the ",
                   kRoomBytes, " bytes that it takes to start: ", free_bytes,
                   " bytes are free there (", std::strerror(error),
                   "); free space on that file system");
}

// --- checkpoints -----------------------------------------------------------
// RocksDB writes a log of its own doings into every directory that it opens;
// beside a checkpoint's files it would be one that no manifest names.
class NoInfoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// Of a table: the CRC that RocksDB took while it wrote it. nullopt: of an older
// version, which took none.
std::optional<uint32_t> ChecksumOf(rocksdb::FileChecksumList* known,
                                   const std::string& name) {
  constexpr std::string_view kTable = ".sst";
  if (name.size() <= kTable.size() || !name.ends_with(kTable)) {
    return std::nullopt;
  }
  uint64_t number = 0;
  const char* const end = name.data() + name.size() - kTable.size();
  const auto parsed = std::from_chars(name.data(), end, number);
  std::string checksum, function;
  if (parsed.ec != std::errc() || parsed.ptr != end ||
      !known->SearchOneFileChecksum(number, &checksum, &function).ok() ||
      function != "FileChecksumCrc32c" || checksum.size() != 4) {
    return std::nullopt;
  }
  return LoadBig32(checksum.data());
}

absl::StatusOr<std::vector<KvFile>> FilesOf(
    const std::string& path, rocksdb::Env* env,
    rocksdb::FileChecksumList* known) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(FromRocks(env->GetChildren(path, &names), path, "listing"));
  std::sort(names.begin(), names.end());
  std::vector<KvFile> files;
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    KvFile file{name, 0, 0};
    if (const auto crc = ChecksumOf(known, name); crc.has_value()) {
      uint64_t bytes = 0;
      RETURN_IF_ERROR(FromRocks(env->GetFileSize(path + "/" + name, &bytes),
                                path, "the size of a table"));
      file.bytes = static_cast<int64_t>(bytes);
      file.crc32c = *crc;
    } else {
      std::string content;
      RETURN_IF_ERROR(FromRocks(
          rocksdb::ReadFileToString(env, path + "/" + name, &content), path,
          "reading a checkpoint's file"));
      file.bytes = static_cast<int64_t>(content.size());
      file.crc32c = Crc32c(content);
    }
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

struct RocksKvStore::Db {
  std::string path;
  RocksKvOptions options;
  std::unique_ptr<rocksdb::DB> db;
  bool write_ahead_log = true;
  std::atomic<ErrorCode> failed{ErrorCode::kNone};  // how the first did
};

// As many as MakeOptions lets it have: it starts no others then.
void RocksKvStore::StartBackgroundThreads() {
  static_assert(kBackgroundJobsMax == 2, "one flushes, one compacts");
  rocksdb::Env* const env = rocksdb::Env::Default();
  env->SetBackgroundThreads(1, rocksdb::Env::Priority::HIGH);
  env->SetBackgroundThreads(1, rocksdb::Env::Priority::LOW);
}

absl::StatusOr<std::unique_ptr<RocksKvStore>> RocksKvStore::Open(
    const std::string& path, const RocksKvOptions& options) {
  RETURN_IF_ERROR(CheckRoom(path));
  if (options.every_write_is_synced) {
    RETURN_IF_ERROR(CheckWals(path, EnvOf(options)));
  }
  auto db = std::make_unique<Db>();
  db->path = path;
  db->options = options;
  db->write_ahead_log = options.write_ahead_log;
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(MakeOptions(options), path, &opened);
  if (!status.ok()) {
    return FromRocks(status, path,
                     "it cannot be opened without losing what was synced");
  }
  db->db.reset(opened);
  return std::unique_ptr<RocksKvStore>(new RocksKvStore(std::move(db)));
}

absl::StatusOr<std::unique_ptr<RocksKvStore>> RocksKvStore::OpenCheckpoint(
    const std::string& path, const RocksKvOptions& options) {
  auto db = std::make_unique<Db>();
  db->path = path;
  db->options = options;
  rocksdb::Options for_reading = MakeOptions(options);
  for_reading.create_if_missing = false;
  for_reading.info_log = std::make_shared<NoInfoLog>();
  rocksdb::DB* opened = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(for_reading, path, &opened);
  if (!status.ok()) return FromRocks(status, path, "opening a checkpoint");
  db->db.reset(opened);
  return std::unique_ptr<RocksKvStore>(new RocksKvStore(std::move(db)));
}

RocksKvStore::RocksKvStore(std::unique_ptr<Db> db) : db_(std::move(db)) {}
RocksKvStore::~RocksKvStore() = default;

absl::StatusOr<std::optional<std::string>> RocksKvStore::Get(
    std::string_view key) const {
  std::string value;
  const rocksdb::Status status =
      db_->db->Get(rocksdb::ReadOptions(), ToSlice(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return FromRocks(status, db_->path, "get");
  return std::optional<std::string>(std::move(value));
}

absl::Status RocksKvStore::Scan(std::string_view from, std::string_view end,
                                const Visitor& visit) const {
  rocksdb::ReadOptions options;
  const rocksdb::Slice bound = ToSlice(end);
  if (!end.empty()) options.iterate_upper_bound = &bound;
  const std::unique_ptr<rocksdb::Iterator> it(db_->db->NewIterator(options));
  for (it->Seek(ToSlice(from)); it->Valid(); it->Next()) {
    if (!visit(ToView(it->key()), ToView(it->value()))) break;
  }
  return FromRocks(it->status(), db_->path, "scan");
}

absl::StatusOr<std::optional<KvStore::KeyValue>> RocksKvStore::Last(
    std::string_view from, std::string_view end) const {
  const std::unique_ptr<rocksdb::Iterator> it(
      db_->db->NewIterator(rocksdb::ReadOptions()));
  if (end.empty()) {
    it->SeekToLast();
  } else {
    it->SeekForPrev(ToSlice(end));  // the last key <= end
    if (it->Valid() && ToView(it->key()) == end) it->Prev();
  }
  if (!it->status().ok()) return FromRocks(it->status(), db_->path, "seek");
  if (!it->Valid() || ToView(it->key()) < from) {
    return std::optional<KeyValue>();
  }
  return std::optional<KeyValue>(
      KeyValue(it->key().ToString(), it->value().ToString()));
}

absl::Status RocksKvStore::Write(const KvBatch& batch, Sync sync) {
  if (const ErrorCode failed = db_->failed.load();
      failed != ErrorCode::kNone) {
    return MakeError(failed, "RocksDB in ", db_->path,
                     ": an earlier write failed; restart the process");
  }
  // One allocation for all: a tag and two lengths with each.
  constexpr size_t kOpBytes = 12;
  size_t bytes = 0;
  for (const KvBatch::Op& op : batch.ops()) {
    bytes += kOpBytes + op.key.size() + op.value.size();
  }
  rocksdb::WriteBatch writes(kOpBytes + bytes);
  for (const KvBatch::Op& op : batch.ops()) {
    rocksdb::Status status;
    switch (op.kind) {
      case KvBatch::Kind::kPut: status = writes.Put(op.key, op.value); break;
      case KvBatch::Kind::kDelete: status = writes.Delete(op.key); break;
      case KvBatch::Kind::kDeleteRange:
        if (op.key < op.value) status = writes.DeleteRange(op.key, op.value);
        break;
    }
    if (!status.ok()) return FromRocks(status, db_->path, "batch");
  }
  rocksdb::WriteOptions options;
  options.sync = sync == Sync::kYes;
  options.disableWAL = !db_->write_ahead_log;
  const absl::Status written = FromRocks(db_->db->Write(options, &writes),
                                         db_->path, "write");
  if (!written.ok()) db_->failed.store(CodeOf(written));
  return written;
}

absl::StatusOr<std::vector<KvFile>> RocksKvStore::Checkpoint(
    const std::string& path) {
  rocksdb::Checkpoint* made = nullptr;
  RETURN_IF_ERROR(FromRocks(rocksdb::Checkpoint::Create(db_->db.get(), &made),
                            db_->path, "preparing a checkpoint"));
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // What is in memory goes to a table first: there may be no log to copy.
  RETURN_IF_ERROR(FromRocks(
      checkpoint->CreateCheckpoint(path, /*log_size_for_flush=*/0), db_->path,
      "making a checkpoint"));
  ASSIGN_OR_RETURN(const auto opened, OpenCheckpoint(path, db_->options));
  const std::unique_ptr<rocksdb::FileChecksumList> known(
      rocksdb::NewFileChecksumList());
  RETURN_IF_ERROR(
      FromRocks(opened->db_->db->GetLiveFilesChecksumInfo(known.get()), path,
                "checksums of tables"));
  return FilesOf(path, EnvOf(db_->options), known.get());
}

}  // namespace sluice
