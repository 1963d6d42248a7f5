#include "examples/cpp/output_db.h"

#include <sqlite3.h>

#include "common/base/error.h"

namespace sluice::example {
namespace {

constexpr int kBusyMs = 30'000;  // other members write to it, too

// The same in every language: members of all of them share one database.
constexpr char kSchema[] =
    "PRAGMA journal_mode = WAL;"
    "CREATE TABLE IF NOT EXISTS output (topic TEXT, partition INTEGER,"
    " offset INTEGER, value TEXT);"
    "CREATE TABLE IF NOT EXISTS progress (topic TEXT, partition INTEGER,"
    " next_offset INTEGER, PRIMARY KEY (topic, partition));";

void BindText(sqlite3_stmt* to, int at, std::string_view text) {
  sqlite3_bind_text(to, at, text.data(), static_cast<int>(text.size()),
                    SQLITE_TRANSIENT);
}

void BindPartition(sqlite3_stmt* to, int at, const NamedPartition& tp) {
  BindText(to, at, tp.topic);
  sqlite3_bind_int(to, at + 1, tp.partition.value());
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputDb>> OutputDb::Open(
    const std::string& path) {
  sqlite3* db = nullptr;
  const int code = sqlite3_open(path.c_str(), &db);
  std::unique_ptr<OutputDb> opened(new OutputDb(db));
  if (code != SQLITE_OK) return opened->Failed();
  sqlite3_busy_timeout(db, kBusyMs);
  absl::Status status = opened->Exec(kSchema);
  const auto prepare = [&](const char* sql, sqlite3_stmt** out) {
    if (status.ok()) status = opened->Prepare(sql, out);
  };
  prepare("INSERT OR IGNORE INTO progress VALUES (?, ?, 0)", &opened->begin_);
  prepare("SELECT next_offset FROM progress WHERE topic = ? AND partition = ?",
          &opened->find_);
  prepare("UPDATE progress SET next_offset = ?"
          " WHERE topic = ? AND partition = ? AND next_offset = ?",
          &opened->move_);
  prepare("INSERT INTO output VALUES (?, ?, ?, ?)", &opened->add_);
  if (!status.ok()) return status;
  return opened;
}

OutputDb::~OutputDb() {
  for (sqlite3_stmt* statement : {begin_, find_, move_, add_}) {
    sqlite3_finalize(statement);
  }
  sqlite3_close(db_);
}

absl::Status OutputDb::Failed() const {
  return MakeError(ErrorCode::kStorageError, "database: ",
                   sqlite3_errmsg(db_));
}

absl::Status OutputDb::Prepare(const char* sql, sqlite3_stmt** out) {
  return sqlite3_prepare_v2(db_, sql, -1, out, nullptr) == SQLITE_OK
             ? absl::OkStatus()
             : Failed();
}

absl::Status OutputDb::Exec(const char* sql) {
  return sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK
             ? absl::OkStatus()
             : Failed();
}

absl::Status OutputDb::Run(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  const absl::Status status =
      code == SQLITE_DONE ? absl::OkStatus() : Failed();
  sqlite3_reset(statement);
  return status;
}

absl::StatusOr<Offset> OutputDb::NextOffset(const NamedPartition& tp) {
  BindPartition(find_, 1, tp);
  const int code = sqlite3_step(find_);
  const Offset offset(code == SQLITE_ROW ? sqlite3_column_int64(find_, 0) : 0);
  absl::Status status = code == SQLITE_ROW || code == SQLITE_DONE
                            ? absl::OkStatus()
                            : Failed();
  sqlite3_reset(find_);
  if (code == SQLITE_DONE) {
    BindPartition(begin_, 1, tp);
    status = Run(begin_);
  }
  if (!status.ok()) return status;
  began_[tp] = offset;
  return offset;
}

absl::StatusOr<bool> OutputDb::Store(const FetchedBatch& batch) {
  absl::Status status = Exec("BEGIN IMMEDIATE");
  if (!status.ok()) return status;
  const auto stored = StoreInTransaction(batch);
  status = Exec(stored.ok() && *stored ? "COMMIT" : "ROLLBACK");
  if (!stored.ok()) return stored;
  if (!status.ok()) return status;
  if (*stored) began_[batch.tp] = batch.next;
  return stored;
}

absl::StatusOr<bool> OutputDb::StoreInTransaction(const FetchedBatch& batch) {
  sqlite3_bind_int64(move_, 1, batch.next.value());
  BindPartition(move_, 2, batch.tp);
  sqlite3_bind_int64(move_, 4, began_[batch.tp].value());
  absl::Status status = Run(move_);
  if (!status.ok()) return status;
  if (sqlite3_changes(db_) == 0) return false;
  const absl::Status read =
      ForEachRecord(batch, [&](const DecodedRecord& record) {
        const ConsumerRecord owned = OwnedRecord(batch.tp, record);
        BindPartition(add_, 1, batch.tp);
        sqlite3_bind_int64(add_, 3, owned.offset.value());
        BindText(add_, 4, owned.value.value_or(""));
        status = Run(add_);
        return status.ok();
      });
  if (!read.ok()) return read;
  if (!status.ok()) return status;
  return true;
}

}  // namespace sluice::example
