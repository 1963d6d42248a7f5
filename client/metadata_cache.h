// Who leads what, as far as this client knows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/backoff.h"
#include "client/client_types.h"
#include "client/connections.h"
#include "common/base/error.h"
#include "common/base/random.h"

namespace sluice {

struct PartitionLeader {
  NodeId leader_id = kNoNode;  // kNoNode: the partition has none
  LeaderEpoch leader_epoch = kNoLeaderEpoch;
  api::Endpoint endpoint;

  bool operator==(const PartitionLeader&) const = default;
};

// Lives on the client's executor. Asks any known broker (bootstrap first) for
// the topics it was told to follow: when a topic is new, when a leader is
// suspected, and every metadata_age_max_ms. One request at a time; a broker
// that does not answer is followed by the next at once, and when all failed by
// a jittered pause. A leader's epoch never goes back: an older answer, from a
// broker whose metadata lags, does not replace a newer hint.
//
// The broker that answered is watched (metadata_cache_watch.cc): leaders that
// it tells of are taken over, anything else that changed is asked for. A watch
// only makes news early: what depends on the metadata works without.
class MetadataCache {
 public:
  struct Topic {
    TopicId id;
    std::vector<PartitionLeader> partitions;  // by index
  };

  // Pause between two refreshes while a leader is awaited: shorter than a
  // producer's, since it decides how long a fail-over is noticed late.
  static constexpr int64_t kAwaitMinUs = 20'000;
  static constexpr int64_t kAwaitMaxUs = 100'000;
  // A suspicion nobody renews ends: the leader was only slow.
  static constexpr int64_t kSuspicionUs = 5'000'000;
  static constexpr int64_t kRefreshTimeoutUs = 2'000'000;
  // More topics are not watched.
  static constexpr size_t kWatchedTopicsMax = 1'000;
  // Pause before a watch that ended is opened again: doubled while it ends
  // without a word.
  static constexpr int64_t kRewatchMinUs = 100'000;
  static constexpr int64_t kRewatchMaxUs = 60'000'000;

  MetadataCache(const ClientDeps& deps, const ClientOptions& options);
  ~MetadataCache();

  // From now on kept up to date. Idempotent.
  void Follow(const std::string& topic);
  // Stops asking for a topic that nobody needs any more. No-op when known.
  void ForgetUnknown(const std::string& topic);
  // Null: not known (yet, or it does not exist).
  const Topic* Find(const std::string& topic) const;
  // Why a followed topic is not known: the brokers' last word on it, or OK
  // while none answered.
  absl::Status WhyUnknown(const std::string& topic) const;
  // nullopt: topic or partition unknown, or without a leader.
  std::optional<PartitionLeader> LeaderOf(const NamedPartition& tp) const;

  // A broker said who leads now. True when this is news.
  bool Learn(const NamedPartition& tp, const api::LeaderHint& hint);
  // The leader of `epoch` did not answer or denied it: refresh until another
  // is known, the suspicion is withdrawn, or kSuspicionUs passed.
  void Suspect(const NamedPartition& tp, LeaderEpoch epoch);
  void Trust(const NamedPartition& tp);
  // Once, soon.
  void Refresh();
  // The same, from another broker than the last: that one may be cut off from
  // the cluster and not know it.
  void AskAnother();

  // Called on the executor after each change or answer, until the token dies.
  using Observer = std::function<void()>;
  [[nodiscard]] std::shared_ptr<void> Observe(Observer observer);

  Connections& connections() { return connections_; }
  // Public addresses of known brokers, bootstrap included: where any call that
  // any broker can answer may go. Never empty.
  std::vector<api::Endpoint> Brokers() const;
  // Expires when this goes: for calls that may outlive it.
  std::weak_ptr<const void> lifetime() const { return alive_; }
  int64_t refresh_count() const { return refresh_count_; }
  bool watching() const { return watch_ != nullptr; }

 private:
  struct Followed {
    std::optional<Topic> topic;
    absl::Status error;
  };
  struct Suspicion {
    LeaderEpoch epoch;
    int64_t until_us = 0;
  };

  void Schedule(int64_t delay_us);
  void Send();
  void OnAnswer(const api::Endpoint& endpoint,
                absl::StatusOr<v1::GetMetadataResponse> answer);
  void TellWhoWaits(const api::Endpoint& endpoint, const absl::Status& why);
  void Apply(const v1::GetMetadataResponse& answer);
  void ApplyTopic(const v1::TopicMetadata& metadata, Followed& into);
  void ApplyBrokers(const v1::GetMetadataResponse& answer);
  void DropSettledSuspicions();
  bool WantsAnother() const;
  void ScheduleNext(bool answered);
  void Notify();
  // ---- metadata_cache_watch.cc ----
  // The broker at `endpoint` has just answered.
  void KeepWatch(const api::Endpoint& endpoint);
  void OnWatched(const v1::WatchMetadataResponse& told);
  // False: only an answer can tell what became of it.
  bool TakeOver(const v1::TopicMetadata& told, bool& news);
  void OnWatchClosed(const absl::Status& why);

  const ClientDeps deps_;
  const ClientOptions options_;
  Connections connections_;
  Random random_;

  std::map<std::string, Followed, std::less<>> topics_;
  std::map<NamedPartition, Suspicion> suspicions_;
  std::vector<api::Endpoint> brokers_;  // from the last answer
  size_t broker_ = 0;       // the one asked last, among Brokers()
  bool elsewhere_ = false;  // the next question goes to the one behind it
  size_t failed_in_row_ = 0;

  TimerId timer_ = 0;
  int64_t timer_at_us_ = 0;
  bool in_flight_ = false;
  bool again_ = false;  // asked for while one was in flight
  Backoff await_backoff_;
  int64_t refresh_count_ = 0;

  std::shared_ptr<MetadataWatchSender> watch_;  // null: none is open
  uint64_t watch_number_ = 0;                   // events of others are late
  std::set<std::string> watched_;               // the topics of watch_
  bool watch_told_ = false;                     // watch_ has said something
  int64_t watch_again_us_ = 0;                  // not before
  bool watch_refused_ = false;  // not worth a question of its own
  Backoff watch_backoff_;

  // on_no_answer: since when, and when it was last told; -1: not.
  int64_t unanswered_since_us_ = -1;
  int64_t unanswered_told_us_ = -1;

  std::vector<std::weak_ptr<Observer>> observers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
