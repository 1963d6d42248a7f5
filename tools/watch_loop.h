// Commands that show something and, with --watch, what has changed of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sluice::cli {

class WatchLoop {
 public:
  struct Deps {
    std::function<void(int64_t us)> pause;  // usleep in the binary
  };
  // As it is at one moment.
  struct Sight {
    std::string state;  // is printed again when this is another one
    std::function<void()> print;
    // There is nothing left to be watched: what the command ends with.
    std::optional<absl::Status> ends;
  };

  explicit WatchLoop(int64_t every_us);
  WatchLoop(int64_t every_us, Deps deps);

  // Once, or until a Sight `ends` it. A look that fails ends a watch only by
  // what asking again does not mend: brokers that are away or move are told of
  // on stderr, the same words once.
  absl::Status Run(bool watch,
                   const std::function<absl::StatusOr<Sight>()>& look);

 private:
  void Show(const Sight& sight);
  void TellFailure(const absl::Status& why);

  const int64_t every_us_;
  const Deps deps_;
  std::optional<std::string> shown_;
  std::string failure_;  // told of, and not followed by a Sight yet
};

}  // namespace sluice::cli
