// The liveness streams of brokers at the active controller: heartbeats in,
// fencing, demotion and permission to stop out, dials when a stream breaks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "client/peers/controller_peer.h"
#include "common/base/ids.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/gray_failure_core.h"
#include "controller/metadata/image.h"
#include "controller/metadata/session_core.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// What sessions ask of the controller; each may come again until the image
// shows it, so the controller ignores what is decided already.
struct SessionDecisions {
  absl::AnyInvocable<void(NodeId, BrokerEpoch, const std::string& why)> fence;
  absl::AnyInvocable<void(NodeId, BrokerEpoch)> unfence;
  absl::AnyInvocable<void(NodeId, BrokerEpoch)> begin_stop;
  // A gray failure, or the end of one; see GrayFailureCore.
  absl::AnyInvocable<void(NodeId, BrokerEpoch, const std::string& why)> demote;
  absl::AnyInvocable<void(NodeId, BrokerEpoch, const std::string& why)> clear;
  // Another controller should be active.
  absl::AnyInvocable<void(const std::string& why)> resign;
};

// Belongs to the controller's executor.
class BrokerSessions {
 public:
  using Stream = PeerStream<internal::v1::LivenessResponse>;
  using Events = PeerStreamEvents<internal::v1::LivenessRequest>;

  static constexpr size_t kStreamsMax = 2000;

  struct Deps {
    Executor* executor;
    const Clock* clock;
    BrokerDialer* dialer;
    SessionOptions options;
    GrayFailureOptions gray;
  };

  BrokerSessions(Deps deps, SessionDecisions decisions);
  ~BrokerSessions();

  // This controller became active with `image`, or stopped being active.
  void Activate(std::shared_ptr<const MetadataImage> image);
  void Deactivate(const absl::Status& why);

  // Closed with NOT_CONTROLLER when not active, with STALE_BROKER_EPOCH when
  // its first message does not name the registered incarnation.
  Events Accept(std::shared_ptr<Stream> stream, const absl::Status& active);

  // The fence could not be carried out (BUSY): it is asked for again.
  void RetryFence(NodeId broker, BrokerEpoch epoch);

  void OnCommitted(std::shared_ptr<const MetadataImage> image,
                   const MetadataChanges& changes);

  SessionState StateOf(NodeId broker, BrokerEpoch epoch) const {
    return core_.StateOf(broker, epoch);
  }

 private:
  struct Live {
    std::shared_ptr<Stream> stream;
    NodeId broker = kNoNode;  // until its first message
    BrokerEpoch epoch = kNoBrokerEpoch;
    LogIndex applied{0};
    // MD9: where the broker was first seen to lead nothing while stopping.
    LogIndex handed_over{0};
    bool waits_to_stop = false;  // asked, and has not been allowed yet
  };

  void OnMessage(uint64_t id, const internal::v1::LivenessRequest& request);
  absl::Status Identify(uint64_t id,
                        const internal::v1::LivenessRequest& request);
  void OnClosed(uint64_t id);
  void CloseLive(uint64_t id, const absl::Status& why);
  void Answer(Live& live);
  // One more broker has applied what others handed over.
  void ReleaseStoppers();
  bool MayShutdown(Live& live);
  void Run(const SessionActions& actions);
  void JudgeGrayFailures();
  void Dial(NodeId broker, BrokerEpoch epoch);
  int64_t NowUs() const;
  void ScheduleTick();

  const Deps deps_;
  SessionDecisions decisions_;
  SessionCore core_;
  GrayFailureCore gray_;
  bool active_ = false;
  std::shared_ptr<const MetadataImage> image_;  // committed
  std::map<uint64_t, Live> streams_;
  std::map<NodeId, uint64_t> stream_of_;
  uint64_t next_id_ = 1;
  TimerId timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
