// Follows the committed metadata from one controller at a time and keeps the
// newest image of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "broker/control/controller_directory.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"

namespace sluice {

// The image only ever moves forward in the committed log (MD1, MD2): a stream
// of a term lower than one seen, with a gap or with offsets that do not rise
// is closed and another controller is asked from the image's offset on.
// Streams are changed 50-200 ms after a failure, when the first answer does
// not come within kFirstAnswerUs, and when the active controller is known to
// have committed more for kBehindUs.
//
// Belongs to the control executor.
class MetadataFollower {
 public:
  static constexpr int64_t kFirstAnswerUs = 2000000;
  static constexpr int64_t kBehindUs = 1000000;
  static constexpr int64_t kCheckUs = 500000;

  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    NodeId node_id;
    // Asked first when it is a controller of the list (the one in the same
    // process); else the brokers spread over all of them.
    NodeId preferred = kNoNode;
    // After each message with batches: the new image and what changed since
    // the one published before.
    std::function<void(std::shared_ptr<const MetadataImage>,
                       const MetadataChanges&)>
        on_image;
    // A committed record that cannot be applied (MD8): end the process.
    std::function<void(absl::Status)> on_fatal;
  };

  explicit MetadataFollower(Deps deps);
  ~MetadataFollower();
  MetadataFollower(const MetadataFollower&) = delete;

  void Start(const ClusterId& cluster_id);
  void Stop();

  const std::shared_ptr<const MetadataImage>& image() const { return image_; }
  // The active controller has committed up to `offset`.
  void NoteCommitted(LogIndex offset);
  // When this broker was last known to have everything, or received more.
  int64_t last_contact_us() const { return last_contact_us_; }
  NodeId following() const;  // kNoNode: no stream just now

 private:
  using Response = internal::v1::FollowMetadataResponse;

  void Open();
  void OnMessage(uint64_t generation, Response message);
  absl::Status Check(const Response& message) const;
  absl::Status Apply(const Response& message);
  // Ends the stream and opens one to the next controller after a while.
  void Rotate(const absl::Status& why);
  void ScheduleCheck();
  void CheckStream();

  Deps deps_;
  ClusterId cluster_id_;
  std::shared_ptr<const MetadataImage> image_;
  size_t index_ = 0;  // in the directory's list
  std::shared_ptr<MetadataStream> stream_;
  uint64_t generation_ = 0;
  LogIndex position_{0};  // what the stream has delivered
  Term term_seen_{0};
  bool answered_ = false;
  bool stopped_ = true;
  int failures_ = 0;
  int64_t opened_us_ = 0;
  LogIndex committed_{0};  // by the active controller, as last heard
  int64_t behind_since_us_ = -1;
  int64_t last_contact_us_ = 0;
  TimerId retry_timer_ = 0;
  TimerId check_timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
