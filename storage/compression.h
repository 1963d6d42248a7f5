// The codecs of record batches. Decompression is capped before it starts and
// grows its output only by what really came out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/batch_header.h"

namespace sluice {

// No batch may decompress to more than this.
inline constexpr int64_t kDecompressedBytesMax = 64 << 20;
// Nor to more than this many times its compressed size ...
inline constexpr int64_t kDecompressionRatioMax = 16;
// ... once it passes this size: small batches of repetitive text are no bombs.
inline constexpr int64_t kDecompressionRatioFreeBytes = 4 << 20;

// The cap that these rules give a block of `compressed_bytes`.
int64_t DecompressedBytesLimit(int64_t compressed_bytes);

bool IsCodecSupported(int codec_number);
// "none", "gzip", "snappy", "lz4", "zstd"; "unknown" for the rest.
std::string_view NameOfCodec(int codec_number);

// kUnsupportedCompressionType for a codec that is not there.
absl::StatusOr<std::string> Compress(Codec codec, std::string_view plain);

// kMessageTooLarge past `bytes_max`; kCorruptMessage for bytes that are not
// one whole frame of the codec; kUnsupportedCompressionType.
absl::StatusOr<std::string> Decompress(Codec codec,
                                       std::string_view compressed,
                                       int64_t bytes_max);

}  // namespace sluice
