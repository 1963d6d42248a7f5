#include "broker/coordinator/lag_monitor.h"

#include <algorithm>
#include <utility>

namespace sluice::coordinator {

void LagMonitor::Wake() {
  deps_.sources.worker->Post([this, alive = alive_] {
    if (!*alive) return;
    // A shard that has answered this round already has something now.
    woken_again_ = true;
    if (awake_) return;
    awake_ = true;
    Round();
  });
}

void LagMonitor::Round() {
  if (std::exchange(woken_again_, false)) rounds_ = 0;
  gathered_ = {};
  missing_ = deps_.shards.size();
  const bool lags = rounds_++ % kRoundsPerLags == 0;
  for (Executor* shard : deps_.shards) {
    shard->Post([this, alive = alive_, shard, lags] {
      if (!*alive) return;
      Gathered here;
      here.watched = deps_.coordinators->Watched(shard);
      if (lags) here.committed = deps_.coordinators->CommittedOf(shard, kLagsMax);
      deps_.sources.worker->Post([this, alive, lags,
                                  here = std::move(here)]() mutable {
        if (!*alive) return;
        gathered_.watched.insert(gathered_.watched.end(),
                                 here.watched.begin(), here.watched.end());
        gathered_.committed.left_out |= here.committed.left_out;
        for (auto& group : here.committed.groups) {
          gathered_.committed.groups.push_back(std::move(group));
        }
        if (--missing_ > 0) return;
        if (lags) AskLags(std::exchange(gathered_.committed, {}));
        Ask(std::exchange(gathered_.watched, {}));
      });
    });
  }
}

void LagMonitor::Ask(std::vector<TopicPartition> watched) {
  std::sort(watched.begin(), watched.end());
  watched.erase(std::unique(watched.begin(), watched.end()), watched.end());
  if (watched.empty()) {
    // Offsets that nobody commits any more have lags, too.
    awake_ = woken_again_ || lags_ != nullptr || asking_lags_;
    if (awake_) RoundLater();
    return;
  }
  if (watched.size() > kPartitionsMax) watched.resize(kPartitionsMax);
  api::ListOffsetsRequest request;
  request.route = api::Route::kForward;
  for (const TopicPartition& tp : watched) {
    auto& one = request.partitions.emplace_back();
    one.topic.id = tp.topic_id;
    one.partition = tp.partition;
    one.position = api::OffsetPosition::kLatest;
  }
  api::CallContext context;
  context.deadline_us = deps_.sources.clock->MonoMicros() + kEveryUs;
  deps_.sources.list_offsets(
      context, request,
      [this, alive = alive_, watched = std::move(watched)](
          const absl::Status& status, api::ListOffsetsResponse answer) {
        deps_.sources.worker->Post([this, alive, watched, ok = status.ok(),
                                    answer = std::move(answer)] {
          if (!*alive) return;
          // Who did not answer is asked again in the next round.
          if (ok) Tell(watched, answer);
          RoundLater();
        });
      });
}

void LagMonitor::Tell(const std::vector<TopicPartition>& asked,
                      const api::ListOffsetsResponse& answer) {
  std::vector<std::pair<TopicPartition, Offset>> known;
  for (size_t i = 0; i < asked.size() && i < answer.results.size(); ++i) {
    if (!answer.results[i].error.ok()) continue;
    known.emplace_back(asked[i], answer.results[i].offset);
  }
  for (Executor* shard : deps_.shards) {
    shard->Post([this, alive = alive_, shard, known] {
      if (*alive) deps_.coordinators->NoteHighWatermarks(shard, known);
    });
  }
}

// The first kLagsMax in order of name, so that it is the same ones each time.
void LagMonitor::AskLags(CommittedGroups committed) {
  if (asking_lags_) return;  // the last round's leaders are slow
  auto known = std::make_shared<KnownLags>();
  known->left_out = committed.left_out;
  std::sort(committed.groups.begin(), committed.groups.end(),
            [](const auto& a, const auto& b) {
              return a.group_id() < b.group_id();
            });
  size_t count = 0;
  for (v1::GroupDescription& group : committed.groups) {
    const size_t room = kLagsMax - count;
    if (room == 0) {
      known->left_out = true;
      break;
    }
    auto& partitions = *group.mutable_partitions();
    if (static_cast<size_t>(partitions.size()) > room) {
      partitions.DeleteSubrange(static_cast<int>(room),
                                partitions.size() - static_cast<int>(room));
      known->left_out = true;
    }
    count += static_cast<size_t>(partitions.size());
    *known->groups.add_groups() = std::move(group);
  }
  if (count == 0) {
    lags_ = nullptr;
    return;
  }
  asking_lags_ = true;
  api::CallContext context;
  context.deadline_us =
      deps_.sources.clock->MonoMicros() + kRoundsPerLags * kEveryUs;
  AddLag(deps_.sources, context, std::move(known->groups),
         [this, alive = alive_, known](v1::DescribeGroupsResponse told) {
           if (!*alive) return;
           asking_lags_ = false;
           known->groups = std::move(told);
           lags_ = known;
         });
}

void LagMonitor::RoundLater() {
  deps_.sources.worker->PostAfter(kEveryUs, [this, alive = alive_] {
    if (*alive) Round();
  });
}

}  // namespace sluice::coordinator
