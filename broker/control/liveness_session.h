// The broker's end of its session with the active controller: one liveness
// stream, heartbeats out, fencing and permission to stop in.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "broker/control/controller_directory.h"

namespace sluice {

struct LivenessTimes {
  int64_t heartbeat_us = 300'000;
  // A stream without an answer for so long has broken: well below the session
  // (SessionOptions), so that another one is there before it ends.
  int64_t silence_us = 1'500'000;
};

// Keeps a stream to whoever is active for as long as it is open. A stream that
// broke, was refused or gives no answer for silence_us is replaced within
// 50-200 ms of an active controller being known; controllers that stay away
// are waited for without end (F77).
//
// Belongs to the control executor.
class LivenessSession {
 public:
  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    ControllerDirectory* directory = nullptr;
    NodeId node_id;
    IncarnationId incarnation;
    // Completes each heartbeat: applied offset and wishes.
    std::function<void(internal::v1::LivenessRequest&)> fill;
    std::function<void(const internal::v1::LivenessResponse&)> on_answer;
    // STALE_BROKER_EPOCH or BROKER_ID_NOT_REGISTERED. The session has closed.
    std::function<void(absl::Status)> on_stale;
    LivenessTimes times;
  };

  explicit LivenessSession(Deps deps);
  ~LivenessSession();
  LivenessSession(const LivenessSession&) = delete;

  // Replaces a session of another epoch.
  void Open(BrokerEpoch epoch);
  void Close();
  bool is_open() const { return open_; }
  // A heartbeat out of turn; several of one moment are one.
  void Beat();
  // Whether the present stream has been answered within silence_us.
  bool connected() const;
  // When an answer last came; 0: never.
  int64_t last_answer_us() const { return last_answer_us_; }

 private:
  void Connect();
  void Break(const absl::Status& why);
  void Drop(absl::Status why);
  void OnMessage(uint64_t generation,
                 const internal::v1::LivenessResponse& message);
  void OnFailure(const absl::Status& why);
  void ScheduleTick();
  void Tick();
  void Send();

  Deps deps_;
  bool open_ = false;
  BrokerEpoch epoch_ = kNoBrokerEpoch;
  std::shared_ptr<LivenessStream> stream_;
  NodeId peer_ = kNoNode;  // of stream_
  uint64_t generation_ = 0;
  bool answered_ = false;  // stream_ has been
  int failures_ = 0;
  bool beat_posted_ = false;
  int64_t heard_us_ = 0;  // answer on stream_, or its opening
  int64_t last_answer_us_ = 0;
  TimerId tick_timer_ = 0;
  TimerId connect_timer_ = 0;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice
