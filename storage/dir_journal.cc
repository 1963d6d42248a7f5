#include "storage/dir_journal.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

constexpr std::string_view kJournalMagic = "SLUICEDJ";
constexpr std::string_view kFrameMagic = "SLJF";
// The CRC of a frame covers everything behind it.
constexpr size_t kFrameCrcFrom = 8;
constexpr size_t kRecordHeaderBytes = 5;

enum RecordType : uint8_t {
  kFacts = 1,
  kRunStarted = 2,
  kCleanStop = 3,
  kMarks = 4,
  kRemoved = 5,
};

void PutOffset(std::string& out, Offset offset) {
  PutBig64(out, static_cast<uint64_t>(offset.value()));
}

// Sixteen bytes, an unset one too.
void PutUuid(std::string& out, const Uuid& id) {
  PutBig64(out, id.high());
  PutBig64(out, id.low());
}

void PutText(std::string& out, std::string_view text) {
  PutBig16(out, static_cast<uint16_t>(text.size()));
  out.append(text);
}

void PutPartition(std::string& out, const TopicPartition& tp) {
  PutUuid(out, tp.topic_id);
  PutBig32(out, static_cast<uint32_t>(tp.partition.value()));
}

size_t StoredEpochs(const PartitionMarks& marks) {
  return std::min(marks.epochs.starts().size(), kEpochStartsMax);
}

// Reads fields one after the other; the first that is missing or out of range
// spoils the rest.
class RecordReader {
 public:
  explicit RecordReader(std::string_view bytes) : reader_(bytes) {}

  template <class Id>
  Id Uuid() {
    const auto raw = reader_.Bytes(16);
    return Need(raw) ? *Id::FromBytes(*raw) : Id();
  }
  int32_t Int32() {
    const auto value = reader_.Big32();
    return Need(value) ? static_cast<int32_t>(*value) : 0;
  }
  int64_t Int64() {
    const auto value = reader_.Big64();
    return Need(value) ? static_cast<int64_t>(*value) : 0;
  }
  bool Flag() {
    const auto value = reader_.U8();
    good_ = Need(value) && *value <= 1;
    return good_ && *value == 1;
  }
  Offset MarkOffset() {
    const Offset offset(Int64());
    good_ = good_ && offset.value() >= 0;
    return offset;
  }
  std::string Text(size_t bytes_max) {
    const auto size = reader_.Big16();
    if (!Need(size) || !(good_ = *size <= bytes_max)) return "";
    const auto text = reader_.Bytes(*size);
    return Need(text) ? std::string(*text) : "";
  }
  TopicPartition Partition() {
    TopicPartition tp;
    tp.topic_id = Uuid<TopicId>();
    tp.partition = PartitionIndex(Int32());
    good_ = good_ && tp.partition.value() >= 0;
    return tp;
  }
  EpochHistory Epochs() {
    const auto count = static_cast<uint32_t>(Int32());
    constexpr size_t kEpochBytes = 12;
    good_ = good_ && count <= kEpochStartsMax &&
            reader_.remaining() == count * kEpochBytes;
    if (!good_) return EpochHistory();
    std::vector<EpochStart> starts(count);
    for (EpochStart& start : starts) {
      start.epoch = LeaderEpoch(Int32());
      start.start = Offset(Int64());
    }
    auto history = EpochHistory::From(std::move(starts));
    return Need(history) ? *std::move(history) : EpochHistory();
  }
  // Everything was there, and nothing else.
  bool Done() const { return good_ && reader_.remaining() == 0; }

 private:
  template <class T>
  bool Need(const std::optional<T>& value) {
    good_ = good_ && value.has_value();
    return good_;
  }

  ByteReader reader_;
  bool good_ = true;
};

// False when the record is not one that this version writes.
bool ApplyRecord(uint8_t type, std::string_view body, JournalState& state) {
  RecordReader in(body);
  switch (type) {
    case kFacts:
      state.facts.directory_id = in.Uuid<DirectoryId>();
      state.facts.cluster_id = in.Uuid<ClusterId>();
      state.facts.node_id = NodeId(in.Int32());
      break;
    case kRunStarted:
      state.boot_id = in.Text(kBootIdBytesMax);
      state.clean_stop.reset();
      break;
    case kCleanStop:
      state.clean_stop = BrokerEpoch(in.Int64());
      break;
    case kMarks: {
      const TopicPartition tp = in.Partition();
      PartitionMarks marks;
      marks.high_watermark = in.MarkOffset();
      marks.recovery_point = in.MarkOffset();
      marks.durable_mark = in.MarkOffset();
      marks.log_start = in.MarkOffset();
      marks.lossy = in.Flag();
      marks.topic_name = in.Text(kMarksNameBytesMax);
      marks.epochs = in.Epochs();
      state.partitions[tp] = std::move(marks);
      break;
    }
    case kRemoved:
      state.partitions.erase(in.Partition());
      break;
    default:
      return false;
  }
  return in.Done();
}

struct Frame {
  int64_t synced_up_to = 0;
  std::string_view records;
  size_t size_bytes = 0;
};

// The frame at the front; nullopt when no whole one with a right CRC is there.
std::optional<Frame> ParseFrame(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes || !bytes.starts_with(kFrameMagic)) {
    return std::nullopt;
  }
  const size_t length = LoadBig32(bytes.data() + 8);
  if (length > kFrameRecordsBytesMax ||
      length > bytes.size() - kFrameHeaderBytes) {
    return std::nullopt;
  }
  Frame frame;
  frame.size_bytes = kFrameHeaderBytes + length;
  const uint32_t crc = Crc32c(
      bytes.substr(kFrameCrcFrom, frame.size_bytes - kFrameCrcFrom));
  if (crc != LoadBig32(bytes.data() + 4)) return std::nullopt;
  frame.synced_up_to = static_cast<int64_t>(LoadBig64(bytes.data() + 12));
  frame.records = bytes.substr(kFrameHeaderBytes, length);
  return frame;
}

absl::Status ApplyFrame(std::string_view records, std::string_view name,
                        JournalState& state) {
  while (!records.empty()) {
    const auto type = static_cast<uint8_t>(records[0]);
    const bool has_header = records.size() >= kRecordHeaderBytes;
    const size_t length = has_header ? LoadBig32(records.data() + 1) : 0;
    // The CRC was right: this is not damage, somebody else wrote it.
    if (!has_header || length > records.size() - kRecordHeaderBytes ||
        !ApplyRecord(type, records.substr(kRecordHeaderBytes, length),
                     state)) {
      return MakeError(ErrorCode::kUnsupportedFormat, name,
                       " has a record of type ", static_cast<int>(type),
                       " that this version does not know; start the version "
                       "that wrote it");
    }
    records.remove_prefix(kRecordHeaderBytes + length);
  }
  return absl::OkStatus();
}

// How many bytes of the file some frame at or behind `position` says were
// durable when it was written.
int64_t KnownSyncedBehind(std::string_view bytes, size_t position) {
  int64_t synced = 0;
  for (size_t at = bytes.find(kFrameMagic, position);
       at != std::string_view::npos; at = bytes.find(kFrameMagic, at + 1)) {
    if (const auto frame = ParseFrame(bytes.substr(at))) {
      synced = std::max(synced, frame->synced_up_to);
    }
  }
  return synced;
}

absl::Status Damaged(std::string_view name, size_t position) {
  return MakeError(
      ErrorCode::kStorageError, name, " is damaged at byte ", position,
      ", which was synced; nothing was changed");
}

// Returns how many bytes of the file were durable when it was made.
absl::StatusOr<int64_t> ParseJournalHeader(std::string_view bytes,
                                           std::string_view name) {
  if (bytes.size() < kJournalHeaderBytes ||
      !bytes.starts_with(kJournalMagic)) {
    return Damaged(name, 0);
  }
  const uint32_t version = LoadBig32(bytes.data() + 8);
  if (version > kFormatVersion) {
    return MakeError(ErrorCode::kUnsupportedFormat, name,
                     " has format version ", version, ", this is version ",
                     kFormatVersion, "; start the version that wrote it");
  }
  constexpr size_t kCrcAt = kJournalHeaderBytes - 4;
  const auto initial_bytes =
      static_cast<int64_t>(LoadBig64(bytes.data() + 12));
  if (version == 0 || initial_bytes < 0 ||
      LoadBig32(bytes.data() + kCrcAt) != Crc32c(bytes.substr(0, kCrcAt))) {
    return Damaged(name, 0);
  }
  return initial_bytes;
}

}  // namespace

void JournalWriter::Begin(uint8_t type) {
  record_start_ = records_.size();
  records_.push_back(static_cast<char>(type));
  PutBig32(records_, 0);
}

void JournalWriter::End() {
  StoreBig32(records_.data() + record_start_ + 1,
             static_cast<uint32_t>(records_.size() - record_start_ -
                                   kRecordHeaderBytes));
  if (records_.size() >= kFrameRecordsBytes) CloseFrame();
}

void JournalWriter::CloseFrame() {
  if (records_.empty()) return;
  const size_t start = frames_.size();
  frames_.append(kFrameMagic);
  PutBig32(frames_, 0);
  PutBig32(frames_, static_cast<uint32_t>(records_.size()));
  PutBig64(frames_, static_cast<uint64_t>(synced_up_to_));
  frames_.append(records_);
  records_.clear();
  StoreBig32(frames_.data() + start + 4,
             Crc32c(std::string_view(frames_).substr(start + kFrameCrcFrom)));
}

std::string JournalWriter::Finish() && {
  CloseFrame();
  return std::move(frames_);
}

void JournalWriter::AddFacts(const DirectoryFacts& facts) {
  Begin(kFacts);
  PutUuid(records_, facts.directory_id);
  PutUuid(records_, facts.cluster_id);
  PutBig32(records_, static_cast<uint32_t>(facts.node_id.value()));
  End();
}

void JournalWriter::AddRunStarted(std::string_view boot_id) {
  INVARIANT(boot_id.size() <= kBootIdBytesMax, "boot id ", boot_id);
  Begin(kRunStarted);
  PutText(records_, boot_id);
  End();
}

void JournalWriter::AddCleanStop(BrokerEpoch broker_epoch) {
  Begin(kCleanStop);
  PutBig64(records_, static_cast<uint64_t>(broker_epoch.value()));
  End();
}

void JournalWriter::AddMarks(const TopicPartition& tp,
                             const PartitionMarks& marks) {
  INVARIANT(marks.topic_name.size() <= kMarksNameBytesMax, tp, " of topic ",
            marks.topic_name);
  Begin(kMarks);
  PutPartition(records_, tp);
  PutOffset(records_, marks.high_watermark);
  PutOffset(records_, marks.recovery_point);
  PutOffset(records_, marks.durable_mark);
  PutOffset(records_, marks.log_start);
  records_.push_back(marks.lossy ? 1 : 0);
  PutText(records_, marks.topic_name);
  const std::vector<EpochStart>& starts = marks.epochs.starts();
  const size_t stored = StoredEpochs(marks);
  PutBig32(records_, static_cast<uint32_t>(stored));
  for (size_t i = starts.size() - stored; i < starts.size(); ++i) {
    PutBig32(records_, static_cast<uint32_t>(starts[i].epoch.value()));
    PutOffset(records_, starts[i].start);
  }
  End();
}

void JournalWriter::AddRemoved(const TopicPartition& tp) {
  Begin(kRemoved);
  PutPartition(records_, tp);
  End();
}

int64_t MarksRecordBytes(const PartitionMarks& marks) {
  constexpr size_t kFixedBytes = kRecordHeaderBytes + 20 + 4 * 8 + 1 + 2 + 4;
  return static_cast<int64_t>(kFixedBytes + marks.topic_name.size() +
                              12 * StoredEpochs(marks));
}

std::string EncodeJournal(const JournalState& state) {
  JournalWriter writer(0);
  writer.AddFacts(state.facts);
  if (!state.boot_id.empty()) writer.AddRunStarted(state.boot_id);
  if (state.clean_stop.has_value()) writer.AddCleanStop(*state.clean_stop);
  for (const auto& [tp, marks] : state.partitions) writer.AddMarks(tp, marks);
  const std::string frames = std::move(writer).Finish();
  std::string journal(kJournalMagic);
  PutBig32(journal, kFormatVersion);
  PutBig64(journal, kJournalHeaderBytes + frames.size());
  PutBig32(journal, Crc32c(journal));
  journal.append(frames);
  return journal;
}

absl::StatusOr<ParsedJournal> ParseJournal(std::string_view bytes,
                                           std::string_view name) {
  ASSIGN_OR_RETURN(const int64_t initial_bytes,
                   ParseJournalHeader(bytes, name));
  ParsedJournal parsed;
  size_t position = kJournalHeaderBytes;
  while (const auto frame = ParseFrame(bytes.substr(position))) {
    RETURN_IF_ERROR(ApplyFrame(frame->records, name, parsed.state));
    position += frame->size_bytes;
  }
  const auto valid = static_cast<int64_t>(position);
  if (valid < initial_bytes || valid < KnownSyncedBehind(bytes, position)) {
    return Damaged(name, position);
  }
  parsed.valid_bytes = valid;
  parsed.torn = position < bytes.size();
  if (!parsed.state.facts.directory_id.is_set()) return Damaged(name, position);
  return parsed;
}

}  // namespace sluice
