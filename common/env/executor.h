// Where code runs. One Executor owns the objects of a shard or of the
// controller; they have no locks because everything about them runs here.
#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"

namespace sluice {

using Task = absl::AnyInvocable<void()>;
using TimerId = uint64_t;  // 0 is no timer

// Tasks run one at a time, in the order posted; timers in order of their time.
// Post, PostAfter and Cancel may be called from any thread. An Executor does
// not bound its queue: whoever admits work does (bytes and items in flight).
class Executor {
 public:
  virtual ~Executor() = default;
  virtual void Post(Task task) = 0;
  virtual TimerId PostAfter(int64_t delay_us, Task task) = 0;
  // True when the task had not started and now never will.
  virtual bool Cancel(TimerId timer) = 0;
  // Whether the caller runs on this executor.
  virtual bool IsCurrent() const = 0;
};

}  // namespace sluice
