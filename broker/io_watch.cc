#include "broker/io_watch.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

// The worst of both, each for itself.
void Worsen(int64_t samples, int64_t mean_us, int64_t oldest_us,
            internal::v1::IoLatency* worst) {
  worst->set_samples(worst->samples() + static_cast<int32_t>(std::min<int64_t>(
                                            samples, 1'000'000)));
  worst->set_mean_us(std::max(worst->mean_us(), mean_us));
  worst->set_oldest_us(std::max(worst->oldest_us(), oldest_us));
}

}  // namespace

IoWatch::IoWatch(Deps deps)
    : deps_(std::move(deps)),
      turns_(deps_.shards.size()),
      probing_(deps_.directories.size()) {}

void IoWatch::Fill(internal::v1::LivenessRequest& heartbeat) {
  for (LogDirectory* directory : deps_.directories) {
    const SyncWatch::Latency ended = directory->sync_watch().Take();
    Worsen(ended.samples, ended.mean_us(), directory->sync_watch().oldest_us(),
           heartbeat.mutable_syncs());
  }
  for (std::string& path : FullDirectories()) {
    heartbeat.add_full_log_dirs(std::move(path));
  }
  const int64_t now_us = deps_.clock->MonoMicros();
  for (size_t i = 0; i < turns_.size(); ++i) {
    Turn& turn = turns_[i];
    Worsen(turn.samples, turn.samples == 0 ? 0 : turn.total_us / turn.samples,
           turn.asked_us < 0 ? 0 : now_us - turn.asked_us,
           heartbeat.mutable_appends());
    turn.samples = 0;
    turn.total_us = 0;
    if (turn.asked_us < 0) AskForTurn(i);
  }
}

std::vector<std::string> IoWatch::FullDirectories() const {
  std::vector<std::string> paths;
  for (const LogDirectory* directory : deps_.directories) {
    if (directory->has_room() || paths.size() == kFullDirectoriesMax) continue;
    paths.push_back(directory->path());
  }
  return paths;
}

void IoWatch::AskForTurn(size_t shard) {
  turns_[shard].asked_us = deps_.clock->MonoMicros();
  const std::weak_ptr<bool> alive = alive_;
  deps_.shards[shard]->Post([this, alive, shard, executor = deps_.executor,
                             clock = deps_.clock] {
    const int64_t turn_us = clock->MonoMicros();
    executor->Post([this, alive, shard, turn_us] {
      if (alive.expired()) return;
      Turn& turn = turns_[shard];
      turn.total_us += turn_us - turn.asked_us;
      ++turn.samples;
      turn.asked_us = -1;
    });
  });
}

void IoWatch::ProbeDisks() {
  for (size_t i = 0; i < probing_.size(); ++i) {
    if (probing_[i]) continue;
    probing_[i] = true;
    deps_.directories[i]->ProbeDisk(
        deps_.executor, [this, alive = std::weak_ptr<bool>(alive_), i] {
          if (!alive.expired()) probing_[i] = false;
        });
  }
}

}  // namespace sluice
