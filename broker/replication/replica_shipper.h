// What one shard sends to one follower: record batches of the partitions the
// follower was accepted for, under its credit, and high watermarks the moment
// they move when no data is about to carry them (design/replication.md 1).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "absl/functional/any_invocable.h"
#include "broker/replication/catch_up_throttle.h"
#include "broker/replication/line_pacer.h"
#include "broker/replication/replication_port.h"
#include "client/peers/replication_stream.h"
#include "common/env/executor.h"
#include "storage/read_plan.h"

namespace sluice {

// The log of a partition led here, as far as shipping needs it.
class ShipSource {
 public:
  virtual ~ShipSource() = default;
  virtual Offset leo() const = 0;
  virtual Offset high_watermark() const = 0;
  virtual Offset log_start() const = 0;
  // Acknowledgements wait for this follower: it is in the ISR.
  virtual bool IsInSync(NodeId broker) const = 0;
  // nullopt: not in memory.
  virtual std::optional<ReadResult> ReadTail(Offset from,
                                             int64_t bytes_max) = 0;
  // `done` runs once on the shard's executor, or never when the partition or
  // its leadership goes away. A result of an older log generation is an error.
  virtual void ReadDisk(
      Offset from, int64_t bytes_max,
      absl::AnyInvocable<void(absl::StatusOr<ReadResult>)> done) = 0;
};

// Owned by a shard, lives on its executor. Credit: bytes on their way without
// an acknowledgement never exceed the window by more than one frame's worth
// (or one batch, where that is larger). Replicas take turns, a frame each; no
// replica holds more than its part of the window, and who does not acknowledge
// for kStallUs gives it back when it is used up: one that hangs slows nobody.
//
// Which stream a replica is on (README.md): the main stream ships from memory.
// A replica out of the ISR that is far behind, or needs the disk, moves to the
// catch-up stream, which is throttled, and from there, once the rest of the log
// fits a frame, to the main stream. It is told ("moved") behind all that was
// sent of it and asks on the other stream for what follows on its log.
class ReplicaShipper {
 public:
  // A frame is sent when it holds this many bytes of batches, or when nothing
  // more is ready.
  static constexpr int64_t kFrameBytesMax = 256 << 10;
  // Out of the ISR and farther behind: not by the main stream.
  static constexpr int64_t kFarBehindBytes = 1 << 20;
  // In how many pieces a near rest may lie in memory.
  static constexpr int kNearReadsMax = 256;
  // What one replica may hold of the window, and never less than two frames.
  static constexpr int64_t kWindowPart = 4;
  static constexpr int64_t kStallUs = 5'000'000;

  // `throttle` is for a catch-up stream, and shared by all of the shard.
  ReplicaShipper(FollowerSession session, Executor* executor,
                 CatchUpThrottle* throttle, int64_t now_us);
  ~ReplicaShipper();

  const FollowerSession& session() const { return session_; }

  // The follower was accepted for `tp`, as it asked by `question`, and wants
  // what follows `from`. Replaces an earlier acceptance. `source` lives until
  // Drop or the end of `this`.
  void Accept(const TopicPartition& tp, const Question& question, Offset from,
              ShipSource* source);
  // Answers that are no acceptance go out in order with everything else.
  void SendAnswer(AddAnswer answer);
  void Drop(const TopicPartition& tp);
  // The follower does not want what it was accepted for by `question`; a later
  // acceptance stays. False when there was none.
  bool DropAsAsked(const TopicPartition& tp, const Question& question);
  // Drop, and the follower is told why: leadership moved, the log cannot be
  // read. Nothing happens when it was not accepted.
  void Remove(const TopicPartition& tp, api::ItemError why);

  void OnAppended(const TopicPartition& tp);
  // Of an acceptance that is over: nothing happens.
  void OnAck(const TopicPartition& tp, const Question& question,
             Offset appended);
  void OnHighWatermark(const TopicPartition& tp);
  // Every 100 ms or so, behind the throttle's.
  void Tick(int64_t now_us);

  size_t replica_count() const { return replicas_.size(); }
  bool Serves(const TopicPartition& tp) const { return replicas_.contains(tp); }

 private:
  struct InFlight {
    Offset next;
    int64_t bytes;
    int64_t sent_us;
  };
  struct Replica {
    Question question;
    ShipSource* source;
    Offset next;  // the next to send
    std::deque<InFlight> in_flight;
    int64_t in_flight_bytes = 0;
    bool judged = false;         // whether it is far behind
    Offset judge_from;           // not near before it has come to here
    bool queued = false;         // in ready_
    int64_t reserved_bytes = 0;  // credit held by a disk read; 0: none runs
    uint64_t acceptance = 0;

    bool reading() const { return reserved_bytes > 0; }
    Offset hw_sent = kNoOffset;
  };

  bool is_main() const { return session_.kind == StreamKind::kMain; }
  bool MayShip() const;
  // All that follows is in memory, and no more than that.
  bool IsNear(Replica& replica, int64_t bytes_max) const;
  void MoveTo(StreamKind to, const TopicPartition& tp);
  void GiveUpStalled();
  void Enqueue(const TopicPartition& tp, Replica& replica);
  void SchedulePump();
  void Pump();
  void ShipOne(const TopicPartition& tp, Replica& replica);
  void StartDiskRead(const TopicPartition& tp, Replica& replica);
  void OnDiskRead(const TopicPartition& tp, Replica& replica,
                  absl::StatusOr<ReadResult> result);
  // False, and the follower is told, when the bytes do not follow on what it
  // has.
  bool AddData(const TopicPartition& tp, Replica& replica, ReadResult result);
  // Ends it for `tp`: the follower and the log are told.
  void CannotShip(const TopicPartition& tp, Offset from,
                  const absl::Status& why);
  void ReturnCredit(Replica& replica, Offset acked);
  void SendFrame();

  FollowerSession session_;
  Executor* const executor_;
  CatchUpThrottle* const throttle_;
  const int64_t part_bytes_;
  int64_t now_us_;  // of the last tick
  int64_t credit_bytes_;
  std::map<TopicPartition, Replica> replicas_;
  std::deque<TopicPartition> ready_;
  // What leaves next, in the order it came about: an answer never overtakes
  // data of the same partition, nor the other way round.
  LeaderFrame frame_;
  int64_t frame_bytes_ = 0;
  bool pump_scheduled_ = false;
  uint64_t next_acceptance_ = 1;
  LinePacer line_pacer_;
  // Tells posted tasks that `this` is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
