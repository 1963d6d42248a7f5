#include "broker/coordinator/view_manifest.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"

namespace sluice::coordinator {
namespace {

constexpr std::string_view kTitle = "sluice view checkpoint ";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kCrc = "crc ";
constexpr size_t kCrcLineBytes = 4 + 8 + 1;

using Fields = std::vector<std::string>;

std::string Hex(uint32_t crc) { return absl::StrFormat("%08x", crc); }

absl::Status NotWhole(std::string_view why) {
  return MakeError(ErrorCode::kStorageError, "the manifest ", why);
}

std::optional<KvFile> FileOf(const Fields& fields) {
  KvFile file;
  if (fields.size() != 4 || fields[1].empty() || fields[1] == "." ||
      fields[1] == ".." || fields[1].find('/') != std::string::npos ||
      !absl::SimpleAtoi(fields[2], &file.bytes) || file.bytes < 0 ||
      fields[3].size() != 8 ||
      !absl::SimpleHexAtoi(fields[3], &file.crc32c)) {
    return std::nullopt;
  }
  file.name = fields[1];
  return file;
}

std::optional<ViewMark> ViewOf(const Fields& fields) {
  if (fields.size() != 5) return std::nullopt;
  const auto topic_id = Uuid::FromString(fields[1]);
  int32_t partition = 0;
  int64_t next = 0;
  int32_t epoch = 0;
  if (!topic_id.has_value() || !absl::SimpleAtoi(fields[2], &partition) ||
      !absl::SimpleAtoi(fields[3], &next) ||
      !absl::SimpleAtoi(fields[4], &epoch) || partition < 0 || next < 0 ||
      epoch < 0) {
    return std::nullopt;
  }
  return ViewMark{{TopicId(*topic_id), PartitionIndex(partition)},
                  {Offset(next), LeaderEpoch(epoch)}};
}

// All views of `older` are in `newer`, at least as far.
bool Covers(const ViewManifest& newer, const ViewManifest& older) {
  return std::all_of(
      older.views.begin(), older.views.end(), [&](const ViewMark& mark) {
        const offsets::Applied* const has = newer.Find(mark.tp);
        return has != nullptr && has->next >= mark.applied.next;
      });
}

}  // namespace

const offsets::Applied* ViewManifest::Find(const TopicPartition& tp) const {
  for (const ViewMark& mark : views) {
    if (mark.tp == tp) return &mark.applied;
  }
  return nullptr;
}

std::string EncodeManifest(const ViewManifest& manifest) {
  std::string text = StrCat(kTitle, kVersion, "\n");
  for (const KvFile& file : manifest.files) {
    text += StrCat("file ", file.name, " ", file.bytes, " ", Hex(file.crc32c),
                   "\n");
  }
  for (const ViewMark& mark : manifest.views) {
    text += StrCat("view ", mark.tp.topic_id, " ", mark.tp.partition, " ",
                   mark.applied.next, " ", mark.applied.epoch, "\n");
  }
  return text + StrCat(kCrc, Hex(Crc32c(text)), "\n");
}

absl::StatusOr<ViewManifest> DecodeManifest(std::string_view text) {
  if (text.size() <= kCrcLineBytes) return NotWhole("is cut short");
  const std::string_view body = text.substr(0, text.size() - kCrcLineBytes);
  if (text.substr(body.size()) != StrCat(kCrc, Hex(Crc32c(body)), "\n")) {
    return NotWhole("does not have the checksum that it names");
  }
  std::vector<std::string> lines =
      absl::StrSplit(AbslView(body), '\n', absl::SkipEmpty());
  if (lines.empty() || !std::string_view(lines[0]).starts_with(kTitle)) {
    return NotWhole("is none of a view");
  }
  if (lines[0] != StrCat(kTitle, kVersion)) {
    return MakeError(ErrorCode::kUnsupportedFormat, "the manifest says \"",
                     lines[0], "\"; this version reads ", kVersion);
  }
  ViewManifest manifest;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Fields fields = absl::StrSplit(lines[i], ' ');
    if (fields[0] == "file") {
      const auto file = FileOf(fields);
      if (!file.has_value()) return NotWhole("names a file that cannot be");
      manifest.files.push_back(*file);
    } else if (fields[0] == "view") {
      const auto view = ViewOf(fields);
      if (!view.has_value()) return NotWhole("names a view that cannot be");
      manifest.views.push_back(*view);
    } else {
      return NotWhole("has a line that is not known");
    }
  }
  return manifest;
}

std::vector<size_t> Superseded(const std::vector<const ViewManifest*>& newest,
                               size_t covering, size_t most) {
  std::vector<size_t> gone;
  for (size_t i = 1; i < newest.size(); ++i) {
    const auto covers = std::count_if(
        newest.begin(), newest.begin() + static_cast<std::ptrdiff_t>(i),
        [&](const ViewManifest* newer) { return Covers(*newer, *newest[i]); });
    if (static_cast<size_t>(covers) >= covering || i >= most) {
      gone.push_back(i);
    }
  }
  return gone;
}

}  // namespace sluice::coordinator
