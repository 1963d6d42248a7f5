// Sends committed metadata to brokers: from the offset that each asks for on,
// then as it commits. Every controller runs one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "client/peers/controller_peer.h"
#include "common/base/ids.h"
#include "controller/metadata_log.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// A follower gets one piece at a time, the next when the last is on the wire,
// so a slow one costs one piece of memory. The first answer comes at once,
// with or without batches; a change of term or active controller is sent too.
// Belongs to the controller's executor.
class MetadataFeed {
 public:
  using Stream = PeerStream<internal::v1::FollowMetadataResponse>;
  using Events = PeerStreamEvents<internal::v1::FollowMetadataRequest>;

  static constexpr size_t kPieceBytesMax = 1 << 20;
  static constexpr size_t kRecentBytesMax = 8 << 20;
  static constexpr size_t kFollowersMax = 2000;

  // `on_fatal`: the log's store is broken.
  MetadataFeed(MetadataLog* log,
               absl::AnyInvocable<void(absl::Status)> on_fatal);
  ~MetadataFeed();

  // Closes the stream with INCONSISTENT_CLUSTER_ID (a request without an id is
  // a newcomer's and welcome), NOT_CONTROLLER (no cluster here yet),
  // INVALID_REQUEST or BUSY.
  Events Accept(const internal::v1::FollowMetadataRequest& request,
                std::shared_ptr<Stream> stream);

  void OnCommitted(LogIndex offset, Term term,
                   internal::v1::MetadataBatch batch);
  void OnRole(const MetadataLogRole& role);
  void CloseAll(const absl::Status& why);
  size_t follower_count() const { return followers_.size(); }

 private:
  struct Follower {
    std::shared_ptr<Stream> stream;
    LogIndex next;           // the first not sent yet
    bool in_flight = false;  // a piece is not on the wire yet
    bool notify = true;      // owed a message even without batches
  };

  absl::Status Check(const internal::v1::FollowMetadataRequest& request) const;
  void PumpAll();
  void Pump(Follower& follower);
  absl::Status FillFromLog(LogIndex from,
                           internal::v1::FollowMetadataResponse& out);

  MetadataLog* const log_;
  absl::AnyInvocable<void(absl::Status)> on_fatal_;
  MetadataLogRole role_;
  LogIndex last_{0};  // the newest committed batch
  // The newest batches, everything above recent_floor_.
  std::deque<internal::v1::CommittedBatch> recent_;
  size_t recent_bytes_ = 0;
  LogIndex recent_floor_{0};
  std::map<uint64_t, Follower> followers_;
  uint64_t next_id_ = 1;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
