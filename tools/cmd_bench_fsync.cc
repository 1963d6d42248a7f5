#include <unistd.h>

#include <CLI/App.hpp>
#include <condition_variable>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/env/posix_file_system.h"
#include "common/env/thread_executor.h"
#include "storage/group_commit.h"
#include "tools/commands.h"
#include "tools/latency_histogram.h"
#include "tools/output.h"

namespace sluice::cli {
namespace {

struct Options {
  std::string directory;
  std::vector<int> files = {1, 16, 100, 1000};
  int64_t bytes = 4096;
  int rounds = 20;
};

// One fdatasync a file is only the yardstick; it is slow.
constexpr int kOneByOneRounds = 5;
constexpr int kFilesMax = 10'000;

// A directory that goes away with everything in it.
class ScratchDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchDirectory>> Make(
      const std::string& parent) {
    std::string path = parent + "/sluice-bench-XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      return MakeError(ErrorCode::kInvalidRequest, "cannot make a directory in ",
                       parent, "; name another with --dir");
    }
    return std::unique_ptr<ScratchDirectory>(
        new ScratchDirectory(std::move(path)));
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

struct Measured {
  int files = 0;
  LatencyHistogram group;
  LatencyHistogram one_by_one;
};

class FsyncBench {
 public:
  FsyncBench(const Context& context, const Options& options,
             const std::string& directory)
      : context_(context),
        options_(options),
        directory_(directory),
        commit_({&fs_, &sync_, directory,
                 [this](absl::Status why) { Fail(std::move(why)); }}) {}

  absl::StatusOr<Measured> Measure(int count) {
    Measured measured;
    measured.files = count;
    SyncSet set;
    for (int i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(auto file,
                       fs_.Open(StrCat(directory_, "/", count, "-", i),
                                OpenMode::kCreate));
      set.files.push_back(std::move(file));
    }
    // The first round also pays for the files themselves.
    for (int round = 0; round <= options_.rounds; ++round) {
      ASSIGN_OR_RETURN(const int64_t us, GroupRound(set));
      if (round > 0) measured.group.Record(us);
    }
    for (int round = 0; round < kOneByOneRounds; ++round) {
      RETURN_IF_ERROR(Dirty(set));
      const int64_t start_us = context_.clock().MonoMicros();
      for (const auto& file : set.files) RETURN_IF_ERROR(file->SyncData());
      measured.one_by_one.Record(context_.clock().MonoMicros() - start_us);
    }
    return measured;
  }

 private:
  absl::Status Dirty(const SyncSet& set) {
    for (const auto& file : set.files) {
      RETURN_IF_ERROR(file->Write(written_, block_));
    }
    written_ += options_.bytes;
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> GroupRound(const SyncSet& set) {
    RETURN_IF_ERROR(Dirty(set));
    const int64_t start_us = context_.clock().MonoMicros();
    {
      std::lock_guard lock(mutex_);
      done_ = false;
    }
    commit_.Request(set, &waiter_, [this] {
      std::lock_guard lock(mutex_);
      done_ = true;
      moved_.notify_all();
    });
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [this] { return done_ || !failed_.ok(); });
    if (!failed_.ok()) return failed_;
    return context_.clock().MonoMicros() - start_us;
  }

  void Fail(absl::Status why) {
    std::lock_guard lock(mutex_);
    failed_ = std::move(why);
    moved_.notify_all();
  }

  const Context& context_;
  const Options& options_;
  const std::string directory_;
  const std::string block_ = std::string(static_cast<size_t>(options_.bytes), 'x');
  int64_t written_ = 0;

  std::mutex mutex_;
  std::condition_variable moved_;
  bool done_ = false;     // guarded by mutex_
  absl::Status failed_;   // guarded by mutex_

  PosixFileSystem fs_;
  ThreadExecutor waiter_{"waiter"};
  ThreadExecutor sync_{"sync"};
  GroupCommit commit_;  // first to go
};

const char* HowOf(int files) {
  return static_cast<size_t>(files) > kFilesSyncedOneByOneMax ? "syncfs"
                                                              : "fdatasync";
}

double Ms(int64_t us) { return static_cast<double>(us) / 1000; }

std::string MsText(int64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", Ms(us));
  return text;
}

nlohmann::ordered_json JsonOf(const std::vector<Measured>& all) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Measured& one : all) {
    json.push_back({{"files", one.files},
                    {"how", HowOf(one.files)},
                    {"p50Ms", Ms(one.group.PercentileUs(50))},
                    {"p99Ms", Ms(one.group.PercentileUs(99))},
                    {"maxMs", Ms(one.group.max_us())},
                    {"oneByOneP50Ms", Ms(one.one_by_one.PercentileUs(50))}});
  }
  return json;
}

absl::Status BenchFsync(Context* context, const Options& options) {
  ASSIGN_OR_RETURN(const auto scratch,
                   ScratchDirectory::Make(options.directory));
  FsyncBench bench(*context, options, scratch->path());
  std::vector<Measured> all;
  for (const int files : options.files) {
    ASSIGN_OR_RETURN(Measured measured, bench.Measure(files));
    all.push_back(std::move(measured));
  }
  Print(context->format(), JsonOf(all), [&](OutputFormat) {
    Table table({"FILES", "P50 MS", "P99 MS", "MAX MS", "BY",
                 "ONE BY ONE P50 MS"});
    for (const Measured& one : all) {
      table.Add({std::to_string(one.files),
                 MsText(one.group.PercentileUs(50)),
                 MsText(one.group.PercentileUs(99)),
                 MsText(one.group.max_us()), HowOf(one.files),
                 MsText(one.one_by_one.PercentileUs(50))});
    }
    table.Print(std::cout);
  });
  return absl::OkStatus();
}

}  // namespace

void AddBenchFsync(CLI::App* bench, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = bench->add_subcommand(
      "fsync", "group commit of a disk, by the number of dirty files");
  command
      ->add_option("--dir", options->directory,
                   "on the disk to measure; a directory is made in it and "
                   "removed")
      ->required();
  command->add_option("--files", options->files, "dirty files")
      ->delimiter(',')
      ->check(CLI::Range(1, kFilesMax))
      ->capture_default_str();
  command->add_option("--bytes", options->bytes, "written to each, each round")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--rounds", options->rounds, "rounds of each")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice bench fsync --dir /var/lib\n"
      "  sluice bench fsync --dir . --files 4,5 --rounds 100 -o json");
  context->OnChosen(command, [context, options] {
    return BenchFsync(context, *options);
  });
}

}  // namespace sluice::cli
