#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <memory>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/env/posix_file_system.h"
#include <nlohmann/json.hpp>
#include "storage/producer_snapshot.h"
#include "storage/record_reader.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/record_format.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string path;
  bool records = false;
  std::string output = "table";
};

// Larger lengths are damage, not batches.
constexpr int64_t kBatchBytesReadMax = 128 << 20;
constexpr int64_t kIndexEntryBytes = 8;

const char* CodecName(int number) {
  static constexpr const char* kNames[] = {"none", "gzip", "snappy", "lz4",
                                           "zstd"};
  return number < 5 ? kNames[number] : "?";
}

void PrintBatch(const Options& options, const std::string& file,
                int64_t position, const BatchView& batch) {
  const BatchHeader& header = batch.header();
  nlohmann::ordered_json json;
  json["file"] = file;
  json["position"] = position;
  json["baseOffset"] = header.base_offset.value();
  json["lastOffset"] = header.last_offset().value();
  json["records"] = header.record_count;
  json["leaderEpoch"] = header.leader_epoch.value();
  json["bytes"] = header.size_bytes();
  json["codec"] = CodecName(header.codec_number());
  json["maxTimestampMs"] = header.max_timestamp_ms;
  json["producerId"] = header.producer_id.value();
  if (header.producer_id.value() >= 0) {
    json["producerEpoch"] = header.producer_epoch;
    json["baseSequence"] = header.base_sequence;
  }
  json["crc"] = batch.CrcMatches() ? "ok" : "BAD";
  if (options.output == "json") {
    std::cout << json.dump() << '\n';
    return;
  }
  std::string line;
  for (const auto& [key, value] : json.items()) {
    if (key == "file") continue;
    line += (line.empty() ? "" : " ") + key + ": " +
            (value.is_string() ? value.get<std::string>() : value.dump());
  }
  std::cout << line << '\n';
}

absl::Status PrintRecords(const Options& options, const BatchView& batch) {
  ASSIGN_OR_RETURN(RecordReader reader, RecordReader::Open(batch));
  ASSIGN_OR_RETURN(const RecordFormat format,
                   RecordFormat::Parse("  | offset: %o timestampMs: %d key "
                                       "bytes: %K value bytes: %V headers: "
                                       "[%h] key: %k value: %v\\n"));
  while (true) {
    ASSIGN_OR_RETURN(const auto record, reader.Next());
    if (!record.has_value()) return absl::OkStatus();
    if (options.output == "json") {
      std::cout << RecordJson({}, *record) << '\n';
    } else {
      std::string line;
      format.Append({}, *record, line);
      std::cout << line;
    }
  }
}

absl::Status DumpSegment(const Options& options, const std::string& path,
                         const File& file) {
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  std::string bytes;
  int64_t bad = 0;
  int64_t first_bad = 0;
  for (int64_t position = 0; position < size;) {
    char head[kBatchHeaderBytes];
    ASSIGN_OR_RETURN(const size_t got, file.ReadAt(position, head));
    const auto header = BatchHeader::Parse({head, got});
    if (!header.has_value() || !header->CheckShape().ok() ||
        header->size_bytes() > kBatchBytesReadMax ||
        position + header->size_bytes() > size) {
      return MakeError(ErrorCode::kCorruptMessage, path, ": no whole batch at ",
                       position, "; ", size - position,
                       " bytes follow (a torn tail is cut when the broker "
                       "starts)");
    }
    bytes.resize(static_cast<size_t>(header->size_bytes()));
    ASSIGN_OR_RETURN(const size_t whole, file.ReadAt(position, bytes));
    ASSIGN_OR_RETURN(const BatchView batch,
                     BatchView::Parse(std::string_view(bytes).substr(0, whole)));
    PrintBatch(options, path, position, batch);
    if (batch.CrcMatches()) {
      if (options.records) RETURN_IF_ERROR(PrintRecords(options, batch));
    } else if (bad++ == 0) {
      first_bad = position;  // what follows is worth seeing, too
    }
    position += header->size_bytes();
  }
  if (bad == 0) return absl::OkStatus();
  return MakeError(ErrorCode::kCorruptMessage, path, ": ", bad,
                   " batch(es) do not match their checksums; the first is at ",
                   first_bad);
}

absl::Status DumpIndex(const Options& options, const std::string& path,
                       const File& file) {
  ASSIGN_OR_RETURN(const int64_t size, file.Size());
  for (int64_t at = 0; at + kIndexEntryBytes <= size; at += kIndexEntryBytes) {
    char entry[kIndexEntryBytes];
    ASSIGN_OR_RETURN(const size_t got, file.ReadAt(at, entry));
    if (got < sizeof entry) break;
    const auto offset = LoadBig32(entry);
    const auto position = LoadBig32(entry + 4);
    if (options.output == "json") {
      const nlohmann::ordered_json json = {
          {"file", path}, {"relativeOffset", offset}, {"position", position}};
      std::cout << json.dump() << '\n';
    } else {
      std::cout << "relativeOffset: " << offset << " position: " << position
                << '\n';
    }
  }
  if (size % kIndexEntryBytes != 0) {
    return MakeError(ErrorCode::kCorruptMessage, path, ": ", size,
                     " bytes are no whole number of entries; the broker "
                     "rebuilds an index like this");
  }
  return absl::OkStatus();
}

void PrintProducer(const Options& options, const std::string& path,
                   ProducerId id, const ProducerState& state) {
  nlohmann::ordered_json json = {{"file", path},
                                 {"producerId", id.value()},
                                 {"epoch", state.epoch}};
  auto& batches = json["batches"] = nlohmann::ordered_json::array();
  for (size_t i = 0; i < state.size(); ++i) {
    const ProducerBatch& batch = state.at(i);
    batches.push_back({{"baseSequence", batch.base_sequence},
                       {"lastSequence", batch.last_sequence()},
                       {"baseOffset", batch.base_offset.value()},
                       {"maxTimestampMs", batch.timestamp_ms}});
  }
  if (options.output == "json") {
    std::cout << json.dump() << '\n';
    return;
  }
  std::cout << "producerId: " << id << " epoch: " << state.epoch;
  for (size_t i = 0; i < state.size(); ++i) {
    const ProducerBatch& batch = state.at(i);
    std::cout << (i == 0 ? " sequences@offset: " : ", ")
              << batch.base_sequence << '-' << batch.last_sequence() << '@'
              << batch.base_offset;
  }
  std::cout << '\n';
}

absl::Status DumpSnapshot(const Options& options, const std::string& path,
                          FileSystem& fs) {
  ASSIGN_OR_RETURN(const std::string bytes,
                   ReadFile(fs, path, kProducerSnapshotBytesMax));
  const auto snapshot = DecodeProducerSnapshot(bytes);
  if (!snapshot.ok()) {
    return MakeError(ErrorCode::kCorruptMessage, path, ": ",
                     StdView(snapshot.status().message()),
                     "; the broker reads the segment instead");
  }
  for (const auto& [last, id] : snapshot->producers.by_last_offset()) {
    PrintProducer(options, path, id, *snapshot->producers.Find(id));
  }
  return absl::OkStatus();
}

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

absl::Status DumpFile(const Options& options, const std::string& path,
                      FileSystem& fs) {
  if (EndsWith(path, ".snapshot")) return DumpSnapshot(options, path, fs);
  if (!EndsWith(path, ".log") && !EndsWith(path, ".index")) {
    return MakeError(ErrorCode::kInvalidRequest, path,
                     " is no .log, .index or .snapshot file, by its name");
  }
  ASSIGN_OR_RETURN(const auto file, fs.Open(path, OpenMode::kRead));
  return EndsWith(path, ".index") ? DumpIndex(options, path, *file)
                                  : DumpSegment(options, path, *file);
}

absl::Status Dump(const Options& options) {
  PosixFileSystem fs;
  std::vector<std::string> files;
  const auto entries = fs.List(options.path);
  if (entries.ok()) {
    for (const DirectoryEntry& entry : *entries) {
      if (EndsWith(entry.name, ".log")) {
        files.push_back(options.path + "/" + entry.name);
      }
    }
    if (files.empty()) {
      return MakeError(ErrorCode::kInvalidRequest, options.path,
                       ": no .log file in it; name one file, or a "
                       "partition's directory: "
                       "DATA_DIR/broker/TOPIC_ID-PARTITION");
    }
  } else {
    files.push_back(options.path);
  }
  absl::Status first_bad;  // the other files are worth seeing, too
  for (const std::string& path : files) {
    if (files.size() > 1 && options.output == "table") {
      std::cout << path << ":\n";
    }
    const absl::Status dumped = DumpFile(options, path, fs);
    if (dumped.ok()) continue;
    if (files.size() > 1) std::cerr << StdView(dumped.message()) << '\n';
    if (first_bad.ok()) first_bad = dumped;
  }
  return first_bad;
}

}  // namespace

void AddLogDump(CLI::App* log, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      log->add_subcommand("dump",
                          "batches, records, producers of a log, offline");
  command->add_option("PATH", options->path,
                      "a .log, .index or .snapshot file, or a partition's "
                      "directory: its segments")
      ->required();
  command->add_flag("--records", options->records, "records too");
  command
      ->add_option("-o,--output", options->output,
                   "table; json: one object a line")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  command->footer(
      "A partition's directory is DATA_DIR/broker/TOPIC_ID-PARTITION; `sluice "
      "topic describe`\nshows the topic's id.\n\n"
      "Examples:\n"
      "  sluice log dump data/broker/7ef974fe6e21e0fa953e3b91dba5b849-0\n"
      "  sluice log dump DIR/00000000000000000000.log --records -o json\n"
      "  sluice log dump DIR/00000000000000004217.snapshot");
  context->OnChosen(command, [options] { return Dump(*options); });
}

}  // namespace sluice::cli
