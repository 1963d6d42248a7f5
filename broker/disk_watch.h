// Whether the thread of a data directory still gets anywhere: a disk that
// answers nothing fails no call, it only never ends one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/env/executor.h"

namespace sluice {

// Belongs to `executor`. A replica whose disk hangs can neither be waited for,
// where it leads, nor told to stop (F56): the process ends itself, as after a
// failed sync, and others lead.
class DiskWatch {
 public:
  static constexpr int64_t kAskUs = 1'000'000;
  // So many questions' time without an answer: the disk is given up. What a
  // disk is behind with counts, so this is longer than any queue that moves.
  // Counted, not timed: what a process sleeps through (SIGSTOP) is one.
  static constexpr int kUnansweredMax = 30;

  struct Deps {
    Executor* executor = nullptr;
    Executor* disk = nullptr;  // the thread that waits for it
    std::string path;
    // Once; nothing is asked any more.
    std::function<void(absl::Status)> on_hung;
  };

  explicit DiskWatch(Deps deps);
  ~DiskWatch();
  DiskWatch(const DiskWatch&) = delete;

  void Start();

 private:
  void Ask();
  void Tick();

  Deps deps_;
  bool asked_ = false;  // and not answered
  int unanswered_ = 0;
  TimerId timer_ = 0;
  // Tasks hold it weakly.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice
