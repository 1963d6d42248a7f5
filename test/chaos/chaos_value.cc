#include "test/chaos/chaos_value.h"

#include <charconv>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "storage/batch_header.h"
#include "storage/record_reader.h"

namespace sluice::chaos {
namespace {

template <class Number>
bool Take(std::string_view& text, Number& number) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.empty() || text.front() != ':') return false;
  text.remove_prefix(1);
  return true;
}

absl::Status AddRecords(const BatchView& batch, int64_t from,
                        std::vector<check::StoredRecord>& records) {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return absl::OkStatus();
    if (record->offset.value() < from) continue;
    const std::string_view value = record->value.value_or("");
    check::StoredRecord& stored = records.emplace_back();
    stored.offset = record->offset.value();
    stored.epoch = batch.header().leader_epoch.value();
    stored.value.name =
        NameIn(value).value_or(check::ValueName{-1, stored.offset});
    stored.value.hash = check::HashOf(value);
  }
}

}  // namespace

std::string MakeValue(const check::ValueName& name, size_t bytes) {
  std::string value = StrCat(name.producer, ":", name.number, ":");
  Random random(static_cast<uint64_t>(name.number) * 1000 +
                static_cast<uint64_t>(name.producer));
  while (value.size() < bytes) {
    value.push_back(static_cast<char>('a' + random.Below(26)));
  }
  return value;
}

std::optional<check::ValueName> NameIn(std::string_view value) {
  check::ValueName name;
  if (!Take(value, name.producer) || !Take(value, name.number)) {
    return std::nullopt;
  }
  return name;
}

absl::StatusOr<std::vector<check::StoredRecord>> RecordsIn(
    std::string_view batches, int64_t from) {
  std::vector<check::StoredRecord> records;
  BatchCursor cursor(batches);
  while (true) {
    ASSIGN_OR_RETURN(const auto batch, cursor.Next());
    if (!batch.has_value()) return records;
    if (!batch->CrcMatches()) {
      return MakeError(ErrorCode::kCorruptMessage, "the batch at offset ",
                       batch->header().base_offset,
                       " does not match its checksum");
    }
    RETURN_IF_ERROR(AddRecords(*batch, from, records));
  }
}

}  // namespace sluice::chaos
