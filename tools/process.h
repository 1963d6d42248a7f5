// Processes of the operating system: start, look, end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::cli {

// Starts `argv[0]` in a session of its own, output appended to `log_path`,
// signals unblocked.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv,
                            const std::string& log_path);

// Any thread of it runs: a zombie's may, and hold what it held.
bool IsAlive(pid_t pid);
// Alive, and started with this among its arguments: not another process that
// got the number later.
bool IsAliveWith(pid_t pid, const std::string& argument);
// Waits; true when it is gone.
bool WaitGone(pid_t pid, int64_t timeout_us);

struct ProcessUsage {
  double cpu_seconds = 0;
  int64_t rss_peak_bytes = 0;
};
std::optional<ProcessUsage> UsageOf(pid_t pid);

std::string LastLines(const std::string& path, int lines);
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);
// Whether somebody listens on 127.0.0.1:port, or it cannot be bound.
bool PortIsBusy(int port);
// Whether an HTTP server answers on 127.0.0.1:port; any answer will do.
bool AnswersHttp(int port);
// The directory of this executable.
std::string OwnDirectory();

}  // namespace sluice::cli
