// A subscription at another broker, for partitions that it leads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "broker/handlers/leader_calls.h"
#include "broker/handlers/subscribe_memory.h"
#include "client/peers/leader_peer.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Of one client's stream; belongs to the worker. What the leader pushes waits
// here until the client has credit for it, a window (and a batch) at most: the
// leader gets credit back as it is passed on, and more while memory has room.
class SubscribeUpstream {
 public:
  static constexpr int64_t kWindowBytesMax = 256 << 10;

  struct Deps {
    LeaderCalls* leaders = nullptr;
    LeaderCalls::Leader leader;
    std::string client_id;
    api::Isolation isolation = api::Isolation::kReadUncommitted;
    api::PayloadForm form = api::PayloadForm::kRecords;
    std::shared_ptr<SubscribeMemory> memory;
    Budget::Share window;  // of it
    std::function<void(api::SubscribeResponse)> on_push;
    std::function<void(absl::Status)> on_closed;
  };

  explicit SubscribeUpstream(Deps deps);
  SubscribeUpstream(const SubscribeUpstream&) = delete;

  const LeaderCalls::Leader& leader() const { return deps_.leader; }
  // Whether it was ever added: what comes of it could be of that time.
  bool knows(const TopicPartition& tp) const { return known_.contains(tp); }
  const std::set<TopicPartition>& live() const { return live_; }

  // `from` says where to begin. Once for each partition.
  void Add(const TopicPartition& tp, const api::SubscribePartition& from);
  void Stop(const TopicPartition& tp);
  // What was passed on, or thrown away.
  void Grant(int64_t bytes);

 private:
  Deps deps_;
  std::shared_ptr<SubscribeSender> sender_;
  bool first_ = true;
  std::set<TopicPartition> known_;
  std::set<TopicPartition> live_;
};

}  // namespace sluice
