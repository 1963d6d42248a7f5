// The clients of a chaos run, and the reader of what it left.
//
//   workload --bootstrap=H:P,... --topic=T --partitions=N --history=FILE
//       Prints "acked A0 A1 ..." (acks = all, a number a partition) ten times
//       a second. A line "stop" on stdin ends the producers; then everything
//       is read, the history written, "done" printed.
//   workload --dump=FILE --topic=T  PARTITION:REPLICA:DIRECTORY...
//       Writes what those logs hold, read from their segments, as copies.
// Exit: 0, or 1 with the reason on stderr.
#include <gflags/gflags.h>
#include <glog/logging.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "test/chaos/chaos_value.h"
#include "test/chaos/workload.h"
#include "test/check/history_text.h"

DEFINE_string(bootstrap, "", "brokers");
DEFINE_string(topic, "", "a topic that exists");
DEFINE_int32(partitions, 1, "of the topic");
DEFINE_int64(records_per_s, 1000, "of each producer");
DEFINE_string(history, "", "where the history goes");
DEFINE_string(dump, "", "dump replicas into this file instead");

namespace sluice::chaos {
namespace {

constexpr int kProgressEveryMs = 100;

void PrintProgress(const Workload& workload) {
  std::cout << "acked";
  for (const int64_t acked : workload.recorder().AckedByPartition()) {
    std::cout << ' ' << acked;
  }
  std::cout << std::endl;
}

// Until a line, or the end of stdin: the rig is gone.
void ReportUntilTold(const Workload& workload) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (::poll(&input, 1, kProgressEveryMs) == 0) PrintProgress(workload);
}

absl::Status RunWorkload() {
  WorkloadOptions options;
  ASSIGN_OR_RETURN(options.bootstrap, ParseBootstrap(FLAGS_bootstrap));
  options.topic = FLAGS_topic;
  options.partitions = FLAGS_partitions;
  options.records_per_s = FLAGS_records_per_s;
  Workload workload(options);
  workload.Start();
  ReportUntilTold(workload);
  RETURN_IF_ERROR(workload.Stop());
  RETURN_IF_ERROR(workload.ReadAll());
  RETURN_IF_ERROR(workload.recorder().WriteTo(FLAGS_history));
  PrintProgress(workload);
  std::cout << "done" << std::endl;
  return absl::OkStatus();
}

absl::StatusOr<std::string> BytesOfLog(const std::string& directory) {
  std::vector<std::string> segments;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory, error)) {
    if (entry.path().extension() == ".log") segments.push_back(entry.path());
  }
  if (error || segments.empty()) {
    return MakeError(ErrorCode::kInvalidRequest, directory,
                     " holds no segments");
  }
  std::sort(segments.begin(), segments.end());  // names are base offsets
  std::string bytes;
  for (const std::string& segment : segments) {
    std::ifstream in(segment, std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(in), {});
    if (!in.good() && !in.eof()) {
      return MakeError(ErrorCode::kStorageError, segment, " cannot be read");
    }
  }
  return bytes;
}

// PARTITION:REPLICA:DIRECTORY
absl::Status AddReplica(std::string_view what, check::History& history) {
  std::istringstream in{std::string(what)};
  int32_t partition = -1;
  int32_t replica = -1;
  char colon = 0;
  std::string directory;
  if (!(in >> partition >> colon >> replica >> colon) ||
      !std::getline(in, directory)) {
    return MakeError(ErrorCode::kInvalidRequest, what,
                     " is no PARTITION:REPLICA:DIRECTORY");
  }
  ASSIGN_OR_RETURN(const std::string bytes, BytesOfLog(directory));
  ASSIGN_OR_RETURN(const auto records, RecordsIn(bytes));
  const int32_t number =
      history.PartitionOf(StrCat(FLAGS_topic, "-", partition));
  const int64_t end = records.empty() ? 0 : records.back().offset + 1;
  RETURN_IF_ERROR(history.AddCopy(number, replica, 0, end));
  return history.AddToLastCopy(records);
}

absl::Status Dump(int argc, char** argv) {
  check::History history;
  for (int i = 1; i < argc; ++i) {
    RETURN_IF_ERROR(AddReplica(argv[i], history));
  }
  std::ofstream out(FLAGS_dump, std::ios::binary);
  return check::WriteHistory(history, out);
}

}  // namespace
}  // namespace sluice::chaos

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  FLAGS_logtostderr = true;
  gflags::ParseCommandLineFlags(&argc, &argv, /*remove_flags=*/true);
  google::InitGoogleLogging(argv[0]);
  const absl::Status status = FLAGS_dump.empty()
                                  ? sluice::chaos::RunWorkload()
                                  : sluice::chaos::Dump(argc, argv);
  if (status.ok()) return 0;
  std::cerr << "workload: " << status.message() << '\n';
  return 1;
}
