#include "broker/process/protobuf_log.h"

#include <glog/logging.h>
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <string>

#include "absl/synchronization/mutex.h"

namespace sluice {
namespace {

// libprotobuf's handler is a bare function, of any thread.
struct ProtobufLines {
  absl::Mutex lock;
  const Clock* clock = nullptr;
  int64_t next_us = INT64_MIN;
  int64_t left_out = 0;
};

ProtobufLines& Lines() {
  static auto& lines = *new ProtobufLines;
  return lines;
}

void OnLine(google::protobuf::LogLevel level, const char* /*file*/,
            int /*line*/, const std::string& what) {
  if (level == google::protobuf::LOGLEVEL_FATAL) {
    LOG(ERROR) << "protobuf: " << what;
    return;
  }
  ProtobufLines& lines = Lines();
  int64_t left_out = 0;
  {
    const absl::MutexLock locked(&lines.lock);
    const int64_t now_us = lines.clock->MonoMicros();
    if (now_us < lines.next_us) {
      ++lines.left_out;
      return;
    }
    lines.next_us = now_us + kProtobufLineEveryUs;
    left_out = lines.left_out;
    lines.left_out = 0;
  }
  LOG(WARNING) << "protobuf: " << what
               << (left_out == 0 ? "" : " (and " + std::to_string(left_out) +
                                            " lines before it, not told)");
}

}  // namespace

void TellOfProtobuf(const Clock* clock) {
  {
    ProtobufLines& lines = Lines();
    const absl::MutexLock locked(&lines.lock);
    lines.clock = clock;
    lines.next_us = INT64_MIN;
    lines.left_out = 0;
  }
  google::protobuf::SetLogHandler(&OnLine);
}

}  // namespace sluice
