// A bound that several threads draw from: bytes or items in flight.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace sluice {

// Thread-safe. Shares keep their Budget alive.
class Budget : public std::enable_shared_from_this<Budget> {
 public:
  // Gives its part back when it is destroyed.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept
        : budget_(std::move(other.budget_)),
          amount_(std::exchange(other.amount_, 0)) {}
    Share& operator=(Share&& other) noexcept {
      std::swap(budget_, other.budget_);
      std::swap(amount_, other.amount_);
      return *this;
    }
    ~Share() {
      if (budget_ != nullptr) budget_->taken_.fetch_sub(amount_);
    }

    int64_t amount() const { return amount_; }
    // False, and nothing changed: it would pass the bound.
    bool TryAdd(int64_t amount) {
      if (!budget_->Reserve(amount)) return false;
      amount_ += amount;
      return true;
    }
    // More or less, past the bound too: what is there already is there.
    void Add(int64_t amount) {
      budget_->taken_.fetch_add(amount);
      amount_ += amount;
    }

   private:
    friend class Budget;
    Share(std::shared_ptr<Budget> budget, int64_t amount)
        : budget_(std::move(budget)), amount_(amount) {}
    std::shared_ptr<Budget> budget_;
    int64_t amount_ = 0;
  };

  static std::shared_ptr<Budget> Of(int64_t max) {
    return std::shared_ptr<Budget>(new Budget(max));
  }

  // nullopt when `amount` would pass the bound.
  std::optional<Share> TryTake(int64_t amount) {
    if (!Reserve(amount)) return std::nullopt;
    return Share(shared_from_this(), amount);
  }

  // To grow later.
  Share Nothing() { return Share(shared_from_this(), 0); }

  int64_t taken() const { return taken_.load(); }
  int64_t max() const { return max_; }
  // How often somebody was told that there is no room.
  int64_t refused() const { return refused_.load(); }

 private:
  explicit Budget(int64_t max) : max_(max) {}

  bool Reserve(int64_t amount) {
    int64_t taken = taken_.load();
    do {
      if (amount > max_ - taken) {
        refused_.fetch_add(1);
        return false;
      }
    } while (!taken_.compare_exchange_weak(taken, taken + amount));
    return true;
  }

  const int64_t max_;
  std::atomic<int64_t> taken_{0};
  std::atomic<int64_t> refused_{0};
};

}  // namespace sluice
