// The metrics listener: HTTP by cpp-httplib.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/api/log_api.h"
#include "common/obs/metrics_pages.h"

namespace sluice {

// Has threads of its own: one that accepts, kWorkers that answer. Behind them
// wait at most kWaitingMax connections, then the accepting thread answers
// itself and the rest waits in the kernel's backlog.
class MetricsServer {
 public:
  static constexpr size_t kWorkers = 2;
  static constexpr size_t kWaitingMax = 32;

  // Listens on return. `pages` outlives the server. INVALID_CONFIG names the
  // address and the operating system's reason.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(
      const api::Endpoint& listen, const MetricsPages* pages);
  // Ends the answers under way.
  ~MetricsServer();

 private:
  struct Http;
  explicit MetricsServer(std::unique_ptr<Http> http);
  std::unique_ptr<Http> http_;
};

}  // namespace sluice
