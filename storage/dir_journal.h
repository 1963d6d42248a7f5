// The bytes of a log directory's journal (storage/FORMAT.md): a header, then
// frames of records. Pure functions; files are DirStore's.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/epoch_history.h"
#include "common/base/ids.h"

namespace sluice {

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr size_t kJournalHeaderBytes = 24;
inline constexpr size_t kFrameHeaderBytes = 20;
// A frame is closed once its records are this long.
inline constexpr size_t kFrameRecordsBytes = 1 << 20;
// Longer is no frame: one record more than the limit above, at most.
inline constexpr size_t kFrameRecordsBytesMax = 8 << 20;
// Of a partition with more, the newest are stored: a follower from before
// them is cut to the high watermark, and recovery reads the whole log.
inline constexpr size_t kEpochStartsMax = 100'000;
inline constexpr size_t kMarksNameBytesMax = 249;
inline constexpr size_t kBootIdBytesMax = 64;

struct PartitionMarks {
  Offset high_watermark;
  Offset recovery_point;
  Offset durable_mark;
  Offset log_start;
  EpochHistory epochs;
  // RecoveryReport said so and the replica has not been in sync since (ST8).
  bool lossy = false;
  std::string topic_name;  // for people and stray directories

  bool operator==(const PartitionMarks&) const = default;
};

struct DirectoryFacts {
  DirectoryId directory_id;
  ClusterId cluster_id;  // unset until SetIdentity
  NodeId node_id{0};     // likewise

  bool operator==(const DirectoryFacts&) const = default;
};

// What a journal's records add up to.
struct JournalState {
  DirectoryFacts facts;
  std::string boot_id;                       // of the last run; "" for none
  std::optional<BrokerEpoch> clean_stop;     // that run ended well
  std::map<TopicPartition, PartitionMarks> partitions;

  bool operator==(const JournalState&) const = default;
};

// Encodes records into frames that follow each other.
class JournalWriter {
 public:
  // `synced_up_to`: the bytes of the file before this write that are durable.
  explicit JournalWriter(int64_t synced_up_to) : synced_up_to_(synced_up_to) {}

  void AddFacts(const DirectoryFacts& facts);
  void AddRunStarted(std::string_view boot_id);
  void AddCleanStop(BrokerEpoch broker_epoch);
  void AddMarks(const TopicPartition& tp, const PartitionMarks& marks);
  void AddRemoved(const TopicPartition& tp);
  std::string Finish() &&;

 private:
  void Begin(uint8_t type);
  void End();
  void CloseFrame();

  int64_t synced_up_to_;
  std::string frames_;
  std::string records_;  // of the open frame
  size_t record_start_ = 0;
};

// A whole journal file of `state`. It is durable before it gets its name.
std::string EncodeJournal(const JournalState& state);
// What these marks take in a journal.
int64_t MarksRecordBytes(const PartitionMarks& marks);

struct ParsedJournal {
  JournalState state;
  int64_t valid_bytes = 0;
  bool torn = false;  // bytes behind the valid ones are of an unfinished write
};

// kUnsupportedFormat: a version or a record of a newer Sluice.
// kStorageError: damage before the last byte that is known to have been
// synced (ST2). `name` is for the messages.
absl::StatusOr<ParsedJournal> ParseJournal(std::string_view bytes,
                                           std::string_view name);

}  // namespace sluice
