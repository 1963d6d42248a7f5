#include "storage/compression.h"

#include <lz4frame.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <memory>

#include "common/base/error.h"
#include "common/base/mutant.h"
#include "common/base/status_macros.h"

namespace sluice {
namespace {

// Output grows in steps of this, doubling: a short block costs little.
constexpr size_t kFirstOutputBytes = 16 << 10;
// A frame may ask for a window of 2^26 bytes and no more: what a whole batch
// may have.
constexpr int kZstdWindowLogMax = 26;
constexpr int kZstdLevel = 3;

absl::Status Garbage(Codec codec, std::string_view why) {
  return MakeError(ErrorCode::kCorruptMessage, "compressed records are no ",
                   NameOfCodec(static_cast<int>(codec)), " frame: ", why);
}

absl::Status TooLarge(int64_t bytes_max) {
  return MakeError(ErrorCode::kMessageTooLarge,
                   "records decompress to more than ", bytes_max,
                   " bytes; send smaller batches");
}

absl::Status Unsupported(int codec_number) {
  return MakeError(ErrorCode::kUnsupportedCompressionType,
                   "compression type ", codec_number, " (",
                   NameOfCodec(codec_number),
                   ") is not supported; use none, lz4 or zstd");
}

// Room behind `used` bytes; false once the cap is used up.
bool MakeRoom(std::string& out, size_t used, int64_t bytes_max) {
  if (used < out.size()) return true;
  // One byte past the cap tells "exactly at the cap" from "more".
  const size_t cap = MUTANT(kDecompressionUnclamped)
                         ? SIZE_MAX
                         : static_cast<size_t>(bytes_max) + 1;
  if (used >= cap) return false;
  out.resize(std::min(cap, std::max(kFirstOutputBytes, out.size() * 2)));
  return true;
}

absl::StatusOr<std::string> Finished(std::string out, size_t used,
                                     int64_t bytes_max) {
  if (used > static_cast<size_t>(bytes_max) &&
      !MUTANT(kDecompressionUnclamped)) {
    return TooLarge(bytes_max);
  }
  out.resize(used);
  return out;
}

absl::StatusOr<std::string> CompressLz4(std::string_view plain) {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;
  std::string out(LZ4F_compressFrameBound(plain.size(), &preferences), '\0');
  const size_t size = LZ4F_compressFrame(out.data(), out.size(), plain.data(),
                                         plain.size(), &preferences);
  if (LZ4F_isError(size)) {
    return MakeError(ErrorCode::kUnknownServerError, "lz4 failed: ",
                     LZ4F_getErrorName(size));
  }
  out.resize(size);
  return out;
}

absl::StatusOr<std::string> CompressZstd(std::string_view plain) {
  std::string out(ZSTD_compressBound(plain.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), plain.data(),
                                    plain.size(), kZstdLevel);
  if (ZSTD_isError(size)) {
    return MakeError(ErrorCode::kUnknownServerError, "zstd failed: ",
                     ZSTD_getErrorName(size));
  }
  out.resize(size);
  return out;
}

absl::StatusOr<std::string> DecompressLz4(std::string_view in,
                                          int64_t bytes_max) {
  LZ4F_dctx* raw = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&raw, LZ4F_VERSION))) {
    return MakeError(ErrorCode::kUnknownServerError, "lz4 has no memory");
  }
  const std::unique_ptr<LZ4F_dctx, decltype(&LZ4F_freeDecompressionContext)>
      context(raw, &LZ4F_freeDecompressionContext);
  std::string out;
  size_t used = 0;
  for (;;) {
    if (!MakeRoom(out, used, bytes_max)) return TooLarge(bytes_max);
    size_t produced = out.size() - used;
    size_t consumed = in.size();
    const size_t hint = LZ4F_decompress(raw, out.data() + used, &produced,
                                        in.data(), &consumed, nullptr);
    if (LZ4F_isError(hint)) {
      return Garbage(Codec::kLz4, LZ4F_getErrorName(hint));
    }
    in.remove_prefix(consumed);
    used += produced;
    if (hint == 0) break;
    if (consumed == 0 && produced == 0) {
      return Garbage(Codec::kLz4, "it ends too early");
    }
  }
  if (!in.empty()) return Garbage(Codec::kLz4, "bytes follow its end");
  return Finished(std::move(out), used, bytes_max);
}

absl::StatusOr<std::string> DecompressZstd(std::string_view in,
                                           int64_t bytes_max) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(
      ZSTD_createDCtx(), &ZSTD_freeDCtx);
  if (context == nullptr ||
      ZSTD_isError(ZSTD_DCtx_setParameter(
          context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax))) {
    return MakeError(ErrorCode::kUnknownServerError, "zstd has no memory");
  }
  std::string out;
  size_t used = 0;
  ZSTD_inBuffer input{in.data(), in.size(), 0};
  for (;;) {
    if (!MakeRoom(out, used, bytes_max)) return TooLarge(bytes_max);
    ZSTD_outBuffer output{out.data() + used, out.size() - used, 0};
    const size_t read_before = input.pos;
    const size_t hint = ZSTD_decompressStream(context.get(), &output, &input);
    if (ZSTD_isError(hint)) {
      if (ZSTD_getErrorCode(hint) ==
          ZSTD_error_frameParameter_windowTooLarge) {
        return TooLarge(bytes_max);
      }
      return Garbage(Codec::kZstd, ZSTD_getErrorName(hint));
    }
    used += output.pos;
    if (hint == 0) break;
    if (output.pos == 0 && input.pos == read_before) {
      return Garbage(Codec::kZstd, "it ends too early");
    }
  }
  if (input.pos != in.size()) {
    return Garbage(Codec::kZstd, "bytes follow its end");
  }
  return Finished(std::move(out), used, bytes_max);
}

}  // namespace

int64_t DecompressedBytesLimit(int64_t compressed_bytes) {
  const int64_t by_ratio =
      std::min(compressed_bytes, kDecompressedBytesMax) *
      kDecompressionRatioMax;
  return std::min(kDecompressedBytesMax,
                  std::max(by_ratio, kDecompressionRatioFreeBytes));
}

bool IsCodecSupported(int codec_number) {
  return codec_number == static_cast<int>(Codec::kNone) ||
         codec_number == static_cast<int>(Codec::kLz4) ||
         codec_number == static_cast<int>(Codec::kZstd);
}

std::string_view NameOfCodec(int codec_number) {
  switch (codec_number) {
    case 0:
      return "none";
    case 1:
      return "gzip";
    case 2:
      return "snappy";
    case 3:
      return "lz4";
    case 4:
      return "zstd";
    default:
      return "unknown";
  }
}

absl::StatusOr<std::string> Compress(Codec codec, std::string_view plain) {
  switch (codec) {
    case Codec::kNone:
      return std::string(plain);
    case Codec::kLz4:
      return CompressLz4(plain);
    case Codec::kZstd:
      return CompressZstd(plain);
    default:
      return Unsupported(static_cast<int>(codec));
  }
}

absl::StatusOr<std::string> Decompress(Codec codec,
                                       std::string_view compressed,
                                       int64_t bytes_max) {
  switch (codec) {
    case Codec::kNone:
      if (static_cast<int64_t>(compressed.size()) > bytes_max) {
        return TooLarge(bytes_max);
      }
      return std::string(compressed);
    case Codec::kLz4:
      return DecompressLz4(compressed, bytes_max);
    case Codec::kZstd:
      return DecompressZstd(compressed, bytes_max);
    default:
      return Unsupported(static_cast<int>(codec));
  }
}

}  // namespace sluice
