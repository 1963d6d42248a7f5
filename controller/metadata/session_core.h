// Who is alive, as the active controller judges it (design/replication.md 5).
// Pure: events with the time go in, what to do comes out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "controller/metadata/broker_control.h"
#include "controller/metadata/image.h"

namespace sluice {

struct SessionOptions {
  int64_t session_us = 3000000;  // without a word for so long: fenced
  // Between dials while there is no stream: twice as long each time, from the
  // least to the most.
  int64_t redial_min_us = 50000;
  int64_t redial_us = 500000;
  int64_t tick_us = 50000;       // how often OnTick is called
};

struct SessionAction {
  enum class Kind {
    kDial,   // probe its internal listener, then OnDialResult
    kFence,  // its session is over
    kResign,  // of no broker: another controller may hear what this one cannot
  };
  Kind kind;
  NodeId broker;
  BrokerEpoch epoch;
  std::string why;  // kFence, kResign

  bool operator==(const SessionAction&) const = default;
};

using SessionActions = std::vector<SessionAction>;

// Rules: a session lasts session_us from the last heartbeat. Without a stream
// (it broke, or this controller is newly active) the broker is dialed at once
// and then every redial_us, sooner at first: refused, its process is dead and it is fenced now;
// connected, the session runs on; no answer, too. When more than half of all
// brokers, and at least two, leave dials unanswered at once, the fault is this
// controller's network: each of them gets one full session from then on.
// The sooner dials are for a process that is just dying: its stream can be
// closed by the kernel a moment before its listener, which then still connects.
// Time that this controller itself slept through counts against nobody.
// An active controller that hears nothing of any of several brokers for half a
// session, having heard of them before, is cut off from them rather than they
// from the world: it asks to resign, once, before it would fence them all. A
// successor that hears nothing either has heard nobody, so it fences.
class SessionCore {
 public:
  enum class Dial { kConnected, kRefused, kNoAnswer };

  explicit SessionCore(SessionOptions options) : options_(options) {}

  // Newly active: every registered broker gets a fresh session and a dial.
  SessionActions Activate(const MetadataImage& image, int64_t now_us);
  void Deactivate();

  // A new incarnation was committed; it has no stream yet.
  void OnRegistered(NodeId broker, BrokerEpoch epoch, int64_t now_us);
  // Every message on a liveness stream, the first one included. `stream` is
  // the driver's number of it, > 0. Revives a session that expired.
  void OnHeartbeat(NodeId broker, BrokerEpoch epoch, uint64_t stream,
                   int64_t now_us);
  SessionActions OnStreamClosed(NodeId broker, BrokerEpoch epoch,
                                uint64_t stream, int64_t now_us);
  SessionActions OnDialResult(NodeId broker, BrokerEpoch epoch, Dial result,
                              int64_t now_us);
  SessionActions OnTick(int64_t now_us);

  SessionState StateOf(NodeId broker, BrokerEpoch epoch) const;
  size_t size() const { return sessions_.size(); }

 private:
  struct Session {
    BrokerEpoch epoch;
    int64_t deadline_us = 0;
    uint64_t stream = 0;  // 0: none
    bool dialing = false;
    bool unanswered = false;
    bool extended = false;
    int64_t next_dial_us = 0;
    int64_t redial_us = 0;  // the last pause; 0: none yet
  };

  Session* Find(NodeId broker, BrokerEpoch epoch);
  void ScheduleDial(Session& session, int64_t now_us) const;
  void ExtendIfManyAreSilent(int64_t now_us);
  bool IsCutOff(int64_t now_us);

  const SessionOptions options_;
  std::map<NodeId, Session> sessions_;
  int64_t last_tick_us_ = -1;
  // When any broker last gave a sign of life; -1: none since Activate, or this
  // has asked to resign since.
  int64_t last_sign_us_ = -1;
};

}  // namespace sluice
