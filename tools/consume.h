// What the two ways of `sluice consume` share: alone, and in a group.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/fetched_batch.h"
#include "tools/cli_context.h"
#include "tools/record_format.h"

namespace sluice::cli {

struct ConsumeOptions {
  std::string topic;
  std::optional<std::string> from;
  int64_t to = -1;
  int64_t count = -1;
  std::vector<int32_t> partitions;
  bool exit_at_end = false;
  std::string format = "%v\\n";
  std::string output;
  std::string rack;
  // With a group only:
  std::string group;
  std::string instance_id;
  std::vector<std::string> assignors;
  int32_t session_timeout_ms = 45'000;
  int32_t heartbeat_interval_ms = 3'000;
  int32_t max_poll_interval_ms = 300'000;
  int64_t commit_interval_ms = 1'000;
};

// Prints what was polled until enough was printed.
class RecordPrinter {
 public:
  RecordPrinter(const ConsumeOptions& options, RecordFormat format)
      : options_(options), format_(std::move(format)) {}

  // Records below `end`. False when enough was printed; `next`, if given, is
  // then past the last one that was.
  absl::StatusOr<bool> Print(const FetchedBatch& batch, Offset end,
                             Offset* next = nullptr);
  // False when nobody reads any more (`| head`).
  bool Flush();

 private:
  const ConsumeOptions& options_;
  const RecordFormat format_;
  std::string out_;
  int64_t printed_ = 0;
};

// `consume -g`. `format` is options.format, understood.
absl::Status ConsumeInGroup(Context* context, const ConsumeOptions& options,
                            RecordFormat format);

}  // namespace sluice::cli
