// Where a member begins to read what it was given.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/consume/consume_types.h"
#include "broker/consume/open_options.h"
#include "common/consumer/assignors.h"

namespace sluice::consume {

// By the rules of the client library (client/group/start_positions.h), so that
// members of both kinds agree:
//  - a partition with a committed offset begins there;
//  - one without, of a topic of which the group has committed something, was
//    added later: from its first record;
//  - of a topic that the group has never read: by `reset`. For LATEST and
//    DURATION the leader commits the place of every partition before anybody
//    reads; the others wait for that, kLeaderPatienceUs. From then on no record
//    is skipped. A leader that comes late moves nobody who has committed.
class StartFinder {
 public:
  static constexpr int64_t kLeaderPatienceUs = 5'000'000;
  static constexpr int64_t kAskAgainUs = 200'000;
  static constexpr int64_t kNever = INT64_MAX;

  // Who asks, as it is now. Nothing is asked while it is no member.
  struct Member {
    std::string id;
    int32_t generation = membership::kNoGeneration;
    bool is_leader = false;
    bool in_generation = false;
  };

  StartFinder(const OpenOptions* options, CallId* last_call)
      : options_(*options), last_call_(*last_call) {}
  StartFinder(const StartFinder&) = delete;

  void Want(const Partitions& partitions);
  void Forget(const Partitions& partitions);
  void OnCounts(const consumer::PartitionCounts& counts) { counts_ = counts; }

  // The answers to its calls; false: the call is none of its.
  bool On(const OffsetsFetched& e, int64_t now_us);
  bool On(const OffsetsListed& e, int64_t now_us);
  bool On(const CommitAnswered& e, int64_t now_us);

  // What to ask now.
  std::vector<Action> Advance(const Member& member, int64_t now_us);
  int64_t NextWakeUs() const;

  // What was found since.
  std::map<NamedPartition, Place> TakeFound();
  // An error that asking again does not better.
  const absl::Status& failed() const { return failed_; }
  // What the coordinator said of the member that asked, if it refused.
  std::optional<membership::OffsetsAnswered> TakeSaid() {
    return std::exchange(said_, std::nullopt);
  }

 private:
  enum class Stage { kIdle, kFetching, kEnds, kTimes, kCommitting };

  std::vector<NamedPartition> AllOf(const std::set<std::string>& topics) const;
  void Sort(const v1::GroupOffsets& committed);
  void BeginTopics(int64_t now_us);
  void OnPlaces();
  void Found(const NamedPartition& tp, Place place);
  void Again(const absl::Status& why, int64_t now_us);
  void List(std::optional<int64_t> back_ms);
  void CommitPlaces();
  void FindPlaces();
  void EndRound();
  TopicId IdOf(const std::string& topic) const;

  const OpenOptions& options_;
  CallId& last_call_;
  consumer::PartitionCounts counts_;

  Partitions wanted_;
  std::map<NamedPartition, Place> found_;
  absl::Status failed_;
  std::optional<membership::OffsetsAnswered> said_;

  // The round under way.
  Stage stage_ = Stage::kIdle;
  CallId call_ = 0;
  Partitions asked_;
  TopicIds topics_;  // all of it is of these
  std::set<std::string> new_topics_;
  std::map<NamedPartition, Offset> places_;  // of new_topics_
  Member member_;
  std::vector<Action> actions_;

  int64_t not_before_us_ = 0;
  int64_t waits_since_us_ = kNever;  // for the leader to commit
};

}  // namespace sluice::consume
