#include "broker/coordinator/lag_monitor.h"

#include <algorithm>
#include <utility>

namespace sluice::coordinator {

void LagMonitor::Wake() {
  deps_.sources.worker->Post([this, alive = alive_] {
    if (!*alive || awake_) return;
    awake_ = true;
    Round();
  });
}

void LagMonitor::Round() {
  watched_.clear();
  missing_ = deps_.shards.size();
  for (Executor* shard : deps_.shards) {
    shard->Post([this, alive = alive_, shard] {
      if (!*alive) return;
      deps_.sources.worker->Post(
          [this, alive, watched = deps_.coordinators->Watched(shard)] {
            if (!*alive) return;
            watched_.insert(watched_.end(), watched.begin(), watched.end());
            if (--missing_ == 0) Ask(std::exchange(watched_, {}));
          });
    });
  }
}

void LagMonitor::Ask(std::vector<TopicPartition> watched) {
  std::sort(watched.begin(), watched.end());
  watched.erase(std::unique(watched.begin(), watched.end()), watched.end());
  if (watched.empty()) {
    awake_ = false;
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

void LagMonitor::RoundLater() {
  deps_.sources.worker->PostAfter(kEveryUs, [this, alive = alive_] {
    if (*alive) Round();
  });
}

}  // namespace sluice::coordinator
