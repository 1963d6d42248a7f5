#include "tools/watch_loop.h"

#include <unistd.h>

#include <iostream>
#include <utility>

#include "client/status_kinds.h"
#include "common/base/error.h"

namespace sluice::cli {

WatchLoop::WatchLoop(int64_t every_us)
    : WatchLoop(every_us, {[](int64_t us) { usleep(us); }}) {}

WatchLoop::WatchLoop(int64_t every_us, Deps deps)
    : every_us_(every_us), deps_(std::move(deps)) {}

absl::Status WatchLoop::Run(
    bool watch, const std::function<absl::StatusOr<Sight>()>& look) {
  while (true) {
    const auto sight = look();
    if (sight.ok()) {
      Show(*sight);
      if (sight->ends.has_value()) return *sight->ends;
    } else if (!watch || !IsRetriableStatus(sight.status())) {
      return sight.status();
    } else {
      TellFailure(sight.status());
    }
    if (!watch) return absl::OkStatus();
    deps_.pause(every_us_);
  }
}

void WatchLoop::Show(const Sight& sight) {
  failure_.clear();
  if (shown_ == sight.state) return;
  if (shown_.has_value()) std::cout << '\n';
  shown_ = sight.state;
  sight.print();
  std::cout.flush();
}

void WatchLoop::TellFailure(const absl::Status& why) {
  std::string told(StdView(why.message()));
  if (told == failure_) return;
  std::cerr << told << '\n';
  failure_ = std::move(told);
}

}  // namespace sluice::cli
