// An SQLite database that holds records and, in the same transaction, how far
// they go.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/fetched_batch.h"

struct sqlite3;
struct sqlite3_stmt;

namespace sluice::example {

class OutputDb {
 public:
  static absl::StatusOr<std::unique_ptr<OutputDb>> Open(
      const std::string& path);
  ~OutputDb();

  // The offset stored of a partition; 0 of a new one.
  absl::StatusOr<Offset> NextOffset(const NamedPartition& tp);
  // False: another member has stored records of this partition since.
  absl::StatusOr<bool> Store(const FetchedBatch& batch);

 private:
  explicit OutputDb(sqlite3* db) : db_(db) {}
  absl::Status Prepare(const char* sql, sqlite3_stmt** out);
  absl::Status Exec(const char* sql);
  // Runs it to its end, and makes it ready to run again.
  absl::Status Run(sqlite3_stmt* statement);
  absl::StatusOr<bool> StoreInTransaction(const FetchedBatch& batch);
  absl::Status Failed() const;

  sqlite3* const db_;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* find_ = nullptr;
  sqlite3_stmt* move_ = nullptr;
  sqlite3_stmt* add_ = nullptr;
  // The stored offsets, as they were here last.
  std::map<NamedPartition, Offset> began_;
};

}  // namespace sluice::example
