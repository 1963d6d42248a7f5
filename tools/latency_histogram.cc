#include "tools/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sluice::cli {

int LatencyHistogram::BucketOf(int64_t us) {
  const uint64_t value = static_cast<uint64_t>(us);
  const int bits = std::bit_width(value);
  if (bits <= kExactBits) return static_cast<int>(value);
  // The 7 bits after the leading one.
  const int sub = static_cast<int>(value >> (bits - 8)) - kSubBuckets;
  return (1 << kExactBits) + (bits - kExactBits - 1) * kSubBuckets + sub;
}

int64_t LatencyHistogram::LargestOf(int bucket) {
  if (bucket < (1 << kExactBits)) return bucket;
  const int above = bucket - (1 << kExactBits);
  const int bits = above / kSubBuckets + kExactBits + 1;
  const int64_t sub = above % kSubBuckets + kSubBuckets;
  return ((sub + 1) << (bits - 8)) - 1;
}

void LatencyHistogram::Record(int64_t us) {
  us = std::clamp<int64_t>(us, 0, (int64_t{1} << kValueBits) - 1);
  ++buckets_[BucketOf(us)];
  ++count_;
  max_us_ = std::max(max_us_, us);
  min_us_ = std::min(min_us_, us);
  sum_us_ += static_cast<double>(us);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (int i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_us_ = std::max(max_us_, other.max_us_);
  min_us_ = std::min(min_us_, other.min_us_);
  sum_us_ += other.sum_us_;
}

double LatencyHistogram::mean_us() const {
  return count_ == 0 ? 0 : sum_us_ / static_cast<double>(count_);
}

int64_t LatencyHistogram::PercentileUs(double percent) const {
  if (count_ == 0) return 0;
  const auto wanted = std::clamp<int64_t>(
      std::llround(std::ceil(percent / 100 * static_cast<double>(count_))), 1,
      count_);
  int64_t seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(LargestOf(i), max_us_);
  }
  return max_us_;
}

}  // namespace sluice::cli
