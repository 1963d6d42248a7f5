// One ClusterService.WatchMetadata: the metadata as it is, then as it changes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "broker/broker_api.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"

namespace sluice {

// How much a watch says and keeps.
struct WatchLimits {
  size_t partitions_per_message = 1'000;
  size_t changes_max = 10'000;  // partitions, topics, brokers
};

// Belongs to the control executor. One message is under way at a time; what
// changes meanwhile is merged, and gives way to a new image when it is more
// than changes_max. So a watch holds one message, that many changes and two
// images, whatever happens and however its client reads.
// A client that reads nothing for kStalledUs is ended with BUSY.
class MetadataWatch : public std::enable_shared_from_this<MetadataWatch> {
 public:
  static constexpr int64_t kStalledUs = 60'000'000;

  struct Deps {
    Executor* executor = nullptr;
    std::function<NodeId()> active_controller;
    std::string listener;         // whose endpoints are told
    std::set<std::string> names;  // empty: all topics
    bool include_internal = false;
    std::shared_ptr<WatchSink> sink;
    WatchLimits limits;
  };

  MetadataWatch(Deps deps, std::shared_ptr<const MetadataImage> image);
  ~MetadataWatch();

  void Start();
  // `changes` are those since the image before.
  void OnImage(std::shared_ptr<const MetadataImage> image,
               const MetadataChanges& changes);
  void OnDrained();
  void End(absl::Status why);
  bool over() const { return deps_.sink == nullptr; }

 private:
  // How far an image has been told.
  struct Place {
    std::string topic;  // the name; "": none yet
    PartitionIndex partition{0};
    bool first = true;
  };

  bool Wants(const TopicImage& topic) const;
  void BeginImage();
  void Pump();
  void PushImagePart();
  // Topics from telling_ on until the message is full; true: that was all.
  bool AddTopics(v1::WatchMetadataResponse& message);
  void PushChanges();
  void AddChangedBrokers(v1::WatchMetadataResponse& message) const;
  void AddChangedTopics(v1::WatchMetadataResponse& message) const;
  v1::WatchMetadataResponse NewMessage(
      v1::WatchMetadataResponse::Kind kind) const;
  void Push(v1::WatchMetadataResponse message);

  Deps deps_;
  std::shared_ptr<const MetadataImage> newest_;
  // What the client knows, or is being told while `telling_` says how far.
  std::shared_ptr<const MetadataImage> told_;
  std::optional<Place> telling_;
  MetadataChanges pending_;  // from told_ to newest_
  bool too_many_ = false;    // pending_ was: the next is an image
  bool in_flight_ = false;
  TimerId stalled_ = 0;
};

}  // namespace sluice
