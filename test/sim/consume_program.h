// A program that reads with stubs alone: a stream of GroupService.Consume at any
// broker, and another one, with the newest token, when that ends.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "sluice/v1/group.pb.h"
#include "storage/record_reader.h"
#include "test/sim/group_app.h"
#include "test/sim/group_program.h"
#include "test/sim/sim_sessions.h"

namespace sluice::sim {

// What such programs met with, over a run.
struct ConsumeCounts {
  int64_t pushes = 0;
  int64_t assigned = 0;
  int64_t resumed = 0;  // a token went on as the member that it names
  int64_t revoked = 0;
  int64_t lost = 0;      // revoked in vain
  int64_t withheld = 0;  // revocations that were not answered in time
  int64_t owing = 0;     // it went elsewhere in place of an answer
  int64_t committed = 0;
  int64_t refused = 0;  // acknowledgements
  int64_t moved = 0;    // by a broker that stops
  int64_t taken_over = 0;
  int64_t stalled = 0;
  int64_t half_closed = 0;  // and left in good order

  void Add(const ConsumeCounts& other);
};

// What it was pushed it works off in that order. A record is given to the
// application when that is done, just before it is acknowledged: what was pushed
// to a process that dies, or was revoked, has to come again. Every other one
// acknowledges by the id of the topic that it was pushed.
class ConsumeProgram final : public GroupApp {
 public:
  static constexpr int64_t kAgainUs = 50'000;
  // An older stream is told by its broker that it is none any more; else it is
  // let go of.
  static constexpr int64_t kOlderUs = 4'000'000;
  // Of so many revocations one is never answered.
  static constexpr uint64_t kWithholdsOneIn = 10;
  // And one finds a restless program on its way to another broker.
  static constexpr uint64_t kOwesOneIn = 3;

  struct Deps {
    SimCluster* cluster = nullptr;
    const GroupPlan* plan = nullptr;
    std::string instance;  // "": a dynamic member
    int number = 0;        // of the process
    std::function<void(const NamedPartition&, const DecodedRecord&)> on_record;
    // After each change, as GroupProgram's.
    std::function<void(int32_t generation,
                       const std::set<NamedPartition>& partitions)>
        on_owned;
    std::function<void(const std::string&)> report;
    ConsumeCounts* counts = nullptr;
  };
  explicit ConsumeProgram(Deps deps);
  ~ConsumeProgram() override;

  void Close() override;
  void Hang(int64_t us) override;
  void Pause() override { process_.Pause(); }
  void Resume() override { process_.Resume(); }
  bool paused() const override { return process_.paused(); }
  void Hurry() override;
  bool over() const override { return over_; }

  int number() const override { return deps_.number; }
  int32_t generation() const override { return generation_; }
  std::set<NamedPartition> Assignment() const override { return owned_; }
  bool knows_positions() const override { return false; }
  std::optional<Offset> Position(const NamedPartition&) const override {
    return std::nullopt;
  }
  std::string ToString() const override;

 private:
  using StreamId = uint64_t;
  // Records of one partition, as they were pushed.
  struct Push {
    v1::ConsumeRecords records;
    NamedPartition tp;
    bool done = false;    // given, out of its turn
    bool in_vain = false; // the partition is not its any more
  };

  // ---- Streams ----
  void OpenLater();
  void Open(bool with_token);
  v1::ConsumeRequest FirstMessage() const;
  void DropStream();
  void OnMessage(StreamId id, const v1::ConsumeResponse& message);
  void OnClosed(StreamId id, const absl::Status& why);
  void OnEnd(const absl::Status& why);
  void BeRestless();
  void GoOnElsewhere();
  void TakeOverOwn();
  // ---- What the broker says ----
  void OnAssigned(const v1::ConsumeAssigned& assigned);
  void OnRevoke(const v1::ConsumeRevoke& revoke);
  void OnRecords(const v1::ConsumeRecords& records);
  void OnCommitted(const v1::ConsumeCommitted& committed);
  // ---- Its work ----
  int64_t Patience(int64_t most_us);
  void WorkLater();
  void Work();
  void Give(Push& push);
  void PutAck(const NamedPartition& tp, Offset next, v1::OffsetCommit* out);
  void AnswerRevoke(int64_t revoke_id);
  void LetGo(const std::set<NamedPartition>& partitions);
  void TellOwned() { deps_.on_owned(generation_, owned_); }

  const Deps deps_;
  const ConsumePlan& plan_;
  GroupProcess process_;
  Random random_;

  StreamId stream_ = 0;  // 0: none
  StreamId last_stream_ = 0;
  std::shared_ptr<ConsumeSender> sender_;
  // It goes on elsewhere, and these have not been told.
  std::map<StreamId, std::shared_ptr<ConsumeSender>> older_;
  bool resumes_ = false;  // the stream was opened with a token
  std::optional<NodeId> elsewhere_;
  std::string token_;
  std::string member_id_;

  int32_t generation_ = membership::kNoGeneration;
  std::set<NamedPartition> owned_;
  std::map<int64_t, std::set<NamedPartition>> revokes_;  // not answered
  std::deque<Push> pushes_;
  std::map<NamedPartition, Offset> given_;   // up to where, by this stream
  std::map<NamedPartition, Offset> acked_;
  std::map<NamedPartition, std::string> topic_ids_;  // of what was given
  bool works_ = false;  // soon
  int64_t hangs_until_us_ = 0;

  bool leaves_ = false;  // half-closed, to come again
  bool hurries_ = false;
  bool closing_ = false;
  bool over_ = false;
};

}  // namespace sluice::sim
