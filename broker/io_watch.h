// What a broker's heartbeats tell of how slow it is: its worst directory's
// syncs, its worst shard's turns; and of its directories that are full.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/log_directory.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// Belongs to `executor`. An append is a write on its shard's thread, so a disk
// that does not take one shows as a shard where nothing has its turn: with each
// heartbeat one task goes to each shard that has answered the last.
class IoWatch {
 public:
  struct Deps {
    Executor* executor = nullptr;
    const Clock* clock = nullptr;
    std::vector<LogDirectory*> directories;
    std::vector<Executor*> shards;
  };

  explicit IoWatch(Deps deps);

  static constexpr size_t kFullDirectoriesMax = 16;  // that are told

  // Once a heartbeat.
  void Fill(internal::v1::LivenessRequest& heartbeat);
  // Paths of those that have no room, at most kFullDirectoriesMax.
  std::vector<std::string> FullDirectories() const;
  // Each directory whose last probe is over syncs something.
  void ProbeDisks();

 private:
  struct Turn {
    int64_t asked_us = -1;  // -1: none is under way
    int64_t total_us = 0;  // of those that ended since the last Fill
    int32_t samples = 0;
  };

  void AskForTurn(size_t shard);

  const Deps deps_;
  std::vector<Turn> turns_;
  std::vector<bool> probing_;  // by directory
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
