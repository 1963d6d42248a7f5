// The newest of something immutable, handed from the executor that makes it to
// every thread that reads it.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

namespace sluice {

// One of the few holders of a lock below floor 4. Thread-safe; the lock is
// held while a pointer is copied, no longer.
template <class T>
class Published {
 public:
  explicit Published(std::shared_ptr<const T> value)
      : value_(std::move(value)) {}
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  std::shared_ptr<const T> Load() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return value_;
  }
  void Store(std::shared_ptr<const T> value) {
    // The old value may be large: it is let go outside the lock.
    std::lock_guard<std::mutex> lock(mutex_);
    value_.swap(value);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;  // guarded by mutex_
};

}  // namespace sluice
