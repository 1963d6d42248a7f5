// The followers' streams into this broker: who they are is checked once, then
// their frames go to the shards that own the partitions.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "broker/replication/replication_port.h"
#include "client/peers/replication_stream.h"
#include "common/env/budget.h"
#include "common/env/executor.h"

namespace sluice {

// Lives on one executor (the replication executor). One session a follower
// broker and kind of stream: a newer stream of the same or a later broker epoch
// replaces the older one; a stale incarnation is refused (F8, F18).
class LeaderSessions final : public ReplicationAcceptor {
 public:
  struct Deps {
    Executor* executor;
    ReplicationPorts* ports;
    NodeId own_id;
    // Asked on executor(). OK, or why this session is refused: foreign
    // cluster, unknown broker, stale broker epoch.
    absl::AnyInvocable<absl::Status(const OpenSession&)> check;
    // What all windows together are taken from.
    std::shared_ptr<Budget> memory;
  };

  // Streams that have not said who they are, and how long they may take.
  static constexpr size_t kUnnamedStreamsMax = 64;
  static constexpr int64_t kNamingTimeUsMax = 5'000'000;
  // What one follower may ask for: more than its own default is cut to this.
  static constexpr int64_t kWindowBytesMax = 64 << 20;
  // What a stream gets, past the budget too, when that is used up: with less
  // than a frame on its way a follower would hardly move.
  static constexpr int64_t kWindowBytesMin = 256 << 10;

  explicit LeaderSessions(Deps deps);

  Executor* executor() override { return deps_.executor; }
  StreamEvents<FollowerFrame> Accept(
      std::shared_ptr<LeaderStream> stream) override;

  // May be called from any thread.
  const Budget& memory() const { return *deps_.memory; }

  // Ends every session: this broker leads nothing any more.
  void Stop();

 private:
  struct Session {
    std::shared_ptr<LeaderStream> stream;
    NodeId broker_id = kNoNode;  // kNoNode: has not said
    BrokerEpoch broker_epoch;
    StreamKind kind = StreamKind::kMain;
    std::optional<Budget::Share> window;
    // Its shards know it. Written while a frame is dealt with, read for the
    // next one only.
    std::shared_ptr<bool> open;
  };

  void OnFrame(StreamId id, FollowerFrame frame);
  bool Open(StreamId id, const OpenSession& open, int64_t credit_bytes);
  // What it asks for if that is left; else half of what is, but something.
  Budget::Share TakeWindow(const OpenSession& open, int64_t asked_bytes) const;
  absl::Status CheckOpen(const OpenSession& open, int64_t credit_bytes);
  // False: `open` itself is an older incarnation's.
  bool ReplaceOlder(StreamId id, const OpenSession& open);
  void Refuse(StreamId id, api::ItemError why);
  void OnClosed(StreamId id);
  // Any thread.
  void Route(StreamId id, FollowerFrame frame) const;

  Deps deps_;
  std::map<StreamId, Session> sessions_;
  size_t unnamed_ = 0;
  bool stopped_ = false;
  StreamId next_id_ = 1;
};

}  // namespace sluice
