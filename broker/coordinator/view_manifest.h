// What a checkpoint of a directory's views says of itself: its files with their
// checksums, and how far each view in it had taken its log. Pure.
//
//   sluice view checkpoint 1
//   file 000123.sst 67108864 0a1b2c3d
//   view 0123456789abcdef0123456789abcdef 7 81234 5
//   crc 89abcdef
//
// A file: name, bytes, CRC-32C in hex. A view: topic id, partition, applied
// offset (exclusive), its epoch. The last line is of all bytes before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/offsets/committed_offset.h"
#include "common/base/ids.h"
#include "storage/kv_store.h"

namespace sluice::coordinator {

struct ViewMark {
  TopicPartition tp;
  offsets::Applied applied;

  bool operator==(const ViewMark&) const = default;
};

struct ViewManifest {
  std::vector<KvFile> files;
  std::vector<ViewMark> views;

  // Null: there is none of it.
  const offsets::Applied* Find(const TopicPartition& tp) const;

  bool operator==(const ViewManifest&) const = default;
};

inline constexpr int64_t kManifestBytesMax = 16 << 20;

std::string EncodeManifest(const ViewManifest& manifest);
// STORAGE_ERROR: not what was written. UNSUPPORTED_FORMAT: of another version.
absl::StatusOr<ViewManifest> DecodeManifest(std::string_view text);

// Of checkpoints, newest first: which may go. One that `covering` newer ones
// each have all views of, at or past where it has them; and what is beyond
// `most`. The newest stays.
std::vector<size_t> Superseded(const std::vector<const ViewManifest*>& newest,
                               size_t covering, size_t most);

}  // namespace sluice::coordinator
