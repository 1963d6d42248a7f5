#include "storage/producer_snapshot.h"

#include <utility>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

constexpr uint16_t kVersion = 1;
constexpr size_t kCrcFrom = 6;  // behind the version and the CRC
constexpr size_t kEntryBytes = 46;
constexpr char kBlockMagic[] = "SLPB";
constexpr size_t kBlockMagicBytes = 4;
constexpr uint16_t kBlockVersion = 1;
constexpr size_t kBatchBytes = 24;

absl::Status Corrupt(std::string_view why) {
  return MakeError(ErrorCode::kCorruptMessage, "producer snapshot: ", why);
}

void PutEntry(std::string& out, ProducerId id, const ProducerState& state) {
  const ProducerBatch& newest = state.newest();
  PutBig64(out, static_cast<uint64_t>(id.value()));
  PutBig16(out, static_cast<uint16_t>(state.epoch));
  PutBig32(out, static_cast<uint32_t>(newest.last_sequence()));
  PutBig64(out, static_cast<uint64_t>(newest.last_offset().value()));
  PutBig32(out, static_cast<uint32_t>(newest.last_offset_delta));
  PutBig64(out, static_cast<uint64_t>(newest.timestamp_ms));
  PutBig32(out, static_cast<uint32_t>(state.coordinator_epoch));
  PutBig64(out, static_cast<uint64_t>(state.transaction_start.value()));
}

void PutBatches(std::string& out, const ProducerState& state) {
  out.push_back(static_cast<char>(state.size()));
  for (size_t i = 0; i < state.size(); ++i) {
    const ProducerBatch& batch = state.at(i);
    PutBig32(out, static_cast<uint32_t>(batch.base_sequence));
    PutBig32(out, static_cast<uint32_t>(batch.last_offset_delta));
    PutBig64(out, static_cast<uint64_t>(batch.base_offset.value()));
    PutBig64(out, static_cast<uint64_t>(batch.timestamp_ms));
  }
}

// One pass over the bytes; every number is checked before it is believed.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : bytes_(bytes), in_(bytes) {}

  absl::StatusOr<ProducerSnapshot> Run() {
    RETURN_IF_ERROR(ReadHead());
    RETURN_IF_ERROR(ReadEntries());
    RETURN_IF_ERROR(ReadBlockHead());
    for (const Entry& entry : entries_) RETURN_IF_ERROR(ReadBatches(entry));
    if (in_.remaining() > 0) return Corrupt("bytes behind the end");
    return std::move(snapshot_);
  }

 private:
  struct Entry {
    ProducerId id;
    int16_t epoch;
    int32_t last_sequence;
    Offset last_offset;
    int32_t last_offset_delta;
    int64_t timestamp_ms;
    int32_t coordinator_epoch;
    Offset transaction_start;
  };

  absl::Status ReadHead() {
    const auto version = in_.Big16();
    const auto crc = in_.Big32();
    if (!crc.has_value()) return Corrupt("it is too short");
    if (*version != kVersion) return Corrupt(StrCat("version ", *version));
    if (*crc != Crc32c(bytes_.substr(kCrcFrom)) &&
        !MUTANT(kSnapshotUnchecked)) {
      return Corrupt("the CRC does not match");
    }
    return absl::OkStatus();
  }

  absl::Status ReadEntries() {
    const auto count = in_.Big32();
    if (!count.has_value() || *count > in_.remaining() / kEntryBytes) {
      return Corrupt("fewer producers than it says");
    }
    entries_.reserve(*count);
    for (uint32_t i = 0; i < *count; ++i) {
      // There are enough bytes.
      Entry& entry = entries_.emplace_back();
      entry.id = ProducerId(static_cast<int64_t>(*in_.Big64()));
      entry.epoch = static_cast<int16_t>(*in_.Big16());
      entry.last_sequence = static_cast<int32_t>(*in_.Big32());
      entry.last_offset = Offset(static_cast<int64_t>(*in_.Big64()));
      entry.last_offset_delta = static_cast<int32_t>(*in_.Big32());
      entry.timestamp_ms = static_cast<int64_t>(*in_.Big64());
      entry.coordinator_epoch = static_cast<int32_t>(*in_.Big32());
      entry.transaction_start = Offset(static_cast<int64_t>(*in_.Big64()));
      if (entry.id.value() < 0 || entry.epoch < 0 ||
          entry.coordinator_epoch < -1 ||
          entry.transaction_start < kNoOffset) {
        return Corrupt(StrCat("producer ", entry.id, " epoch ", entry.epoch));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadBlockHead() {
    const auto magic = in_.Bytes(kBlockMagicBytes);
    const auto version = in_.Big16();
    const auto offset = in_.Big64();
    const auto epoch = in_.Big32();
    if (!magic.has_value() || *magic != std::string_view(kBlockMagic) ||
        !offset.has_value() || !epoch.has_value() ||
        *version != kBlockVersion) {
      return Corrupt("it has no block of all batches, or of another version");
    }
    snapshot_.offset = Offset(static_cast<int64_t>(*offset));
    snapshot_.last_epoch = LeaderEpoch(static_cast<int32_t>(*epoch));
    if (snapshot_.offset.value() < 0 || snapshot_.last_epoch < kNoLeaderEpoch) {
      return Corrupt(StrCat("it ends at offset ", snapshot_.offset));
    }
    return absl::OkStatus();
  }

  absl::Status ReadBatches(const Entry& entry) {
    const auto count = in_.U8();
    if (!count.has_value() || *count < 1 || *count > kProducerBatchesKept ||
        in_.remaining() < *count * kBatchBytes) {
      return Corrupt(StrCat("the batches of producer ", entry.id));
    }
    ProducerState state;
    state.epoch = entry.epoch;
    state.coordinator_epoch = entry.coordinator_epoch;
    state.transaction_start = entry.transaction_start;
    for (int i = 0; i < *count; ++i) {
      ProducerBatch batch;
      batch.base_sequence = static_cast<int32_t>(*in_.Big32());
      batch.last_offset_delta = static_cast<int32_t>(*in_.Big32());
      batch.base_offset = Offset(static_cast<int64_t>(*in_.Big64()));
      batch.timestamp_ms = static_cast<int64_t>(*in_.Big64());
      RETURN_IF_ERROR(CheckBatch(entry, state, batch));
      state.Add(batch);
    }
    const ProducerBatch& newest = state.newest();
    if (newest.last_sequence() != entry.last_sequence ||
        newest.last_offset() != entry.last_offset ||
        newest.last_offset_delta != entry.last_offset_delta ||
        newest.timestamp_ms != entry.timestamp_ms) {
      return Corrupt(StrCat("it says two things of producer ", entry.id));
    }
    if (!snapshot_.producers.Restore(entry.id, state)) {
      return Corrupt(StrCat("producer ", entry.id, " is out of order"));
    }
    return absl::OkStatus();
  }

  absl::Status CheckBatch(const Entry& entry, const ProducerState& before,
                          const ProducerBatch& batch) const {
    const bool follows = before.size() == 0 ||
                         batch.base_offset > before.newest().last_offset();
    // The subtraction cannot overflow: both are not negative.
    if (batch.base_sequence < 0 || batch.last_offset_delta < 0 ||
        batch.base_offset.value() < 0 || batch.timestamp_ms < -1 ||
        !follows ||
        snapshot_.offset - batch.base_offset <= batch.last_offset_delta) {
      return Corrupt(StrCat("a batch of producer ", entry.id, " at offset ",
                            batch.base_offset));
    }
    return absl::OkStatus();
  }

  const std::string_view bytes_;
  ByteReader in_;
  std::vector<Entry> entries_;
  ProducerSnapshot snapshot_;
};

}  // namespace

std::string EncodeProducerSnapshot(const ProducerTable& producers,
                                   Offset offset, LeaderEpoch last_epoch) {
  std::string body;
  PutBig32(body, static_cast<uint32_t>(producers.size()));
  for (const auto& [last, id] : producers.by_last_offset()) {
    PutEntry(body, id, *producers.Find(id));
  }
  body.append(kBlockMagic, kBlockMagicBytes);
  PutBig16(body, kBlockVersion);
  PutBig64(body, static_cast<uint64_t>(offset.value()));
  PutBig32(body, static_cast<uint32_t>(last_epoch.value()));
  for (const auto& [last, id] : producers.by_last_offset()) {
    PutBatches(body, *producers.Find(id));
  }
  std::string out;
  PutBig16(out, kVersion);
  PutBig32(out, Crc32c(body));
  out += body;
  return out;
}

absl::StatusOr<ProducerSnapshot> DecodeProducerSnapshot(
    std::string_view bytes) {
  return Decoder(bytes).Run();
}

}  // namespace sluice
