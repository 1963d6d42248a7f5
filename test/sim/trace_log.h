// What the product logs, as lines of a run's trace: in their place, with virtual
// time and the node that says it.
#pragma once

#include <glog/logging.h>

#include "test/sim/fuzz_run.h"

namespace sluice::sim {

// While it lives glog writes there alone.
class TraceLog final : public google::LogSink {
 public:
  explicit TraceLog(FuzzRun* run);
  ~TraceLog() override;

  void send(google::LogSeverity severity, const char* full_filename,
            const char* base_filename, int line,
            const google::LogMessageTime& time, const char* message,
            size_t message_len) override;

 private:
  FuzzRun* const run_;
  const bool to_stderr_;
};

}  // namespace sluice::sim
