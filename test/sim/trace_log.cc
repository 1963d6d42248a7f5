#include "test/sim/trace_log.h"

#include <string_view>

#include "common/base/str_cat.h"

namespace sluice::sim {

TraceLog::TraceLog(FuzzRun* run) : run_(run), to_stderr_(FLAGS_logtostderr) {
  // "": to no file. What is fatal is said on stderr still.
  for (int severity = 0; severity < google::NUM_SEVERITIES; ++severity) {
    google::SetLogDestination(severity, "");
  }
  FLAGS_logtostderr = false;
  FLAGS_stderrthreshold = google::GLOG_FATAL;
  google::AddLogSink(this);
}

TraceLog::~TraceLog() {
  google::RemoveLogSink(this);
  FLAGS_logtostderr = to_stderr_;
}

void TraceLog::send(google::LogSeverity severity, const char*,
                    const char* base_filename, int line,
                    const google::LogMessageTime&, const char* message,
                    size_t message_len) {
  run_->Note(StrCat("log ", google::GetLogSeverityName(severity), " ",
                    base_filename, ":", line, " ",
                    std::string_view(message, message_len)));
}

}  // namespace sluice::sim
