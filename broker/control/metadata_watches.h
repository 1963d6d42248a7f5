// Who watches the metadata of this broker.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "broker/broker_api.h"
#include "broker/control/metadata_watch.h"
#include "common/env/budget.h"
#include "common/env/executor.h"

namespace sluice {

class MetadataWatches {
 public:
  static constexpr int64_t kWatchesMax = 10'000;  // of the whole broker
  static constexpr int kNamesMax = 1'000;         // of one watch

  struct Deps {
    Executor* executor = nullptr;
    // Empty until it is the present.
    std::function<std::shared_ptr<const MetadataImage>()> image;
    std::function<NodeId()> active_controller;
    WatchLimits limits;  // of one watch
  };

  explicit MetadataWatches(Deps deps, int64_t watches_max = kWatchesMax);
  ~MetadataWatches();
  MetadataWatches(const MetadataWatches&) = delete;

  // As BrokerApi::WatchMetadata. Any thread. Ended at once with BUSY (more than
  // kWatchesMax), INVALID_REQUEST (more than kNamesMax topics),
  // BROKER_NOT_AVAILABLE (no metadata is known here yet), SHUTTING_DOWN.
  std::shared_ptr<WatchSession> Watch(const api::CallContext& context,
                                      v1::WatchMetadataRequest request,
                                      std::shared_ptr<WatchSink> sink);

  // On the executor: an image was published, `changes` since the one before.
  void OnImage(std::shared_ptr<const MetadataImage> image,
               const MetadataChanges& changes);
  void Stop();

 private:
  class Session;

  void Open(const std::shared_ptr<Session>& session,
            const api::CallContext& context,
            const v1::WatchMetadataRequest& request,
            std::shared_ptr<WatchSink> sink);
  absl::Status Check(const v1::WatchMetadataRequest& request) const;

  const Deps deps_;
  const std::shared_ptr<Budget> watches_;
  std::vector<std::weak_ptr<Session>> sessions_;
  bool stopped_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
