// Latencies of any number of records in a fixed table.
#pragma once

#include <array>
#include <cstdint>

namespace sluice::cli {

// Like an HDR histogram: values below 256 us are exact, above that buckets
// are at most 1/128 of their value wide, so a percentile is at most 0.8 % too
// high. Negative values count as 0, values past 2^40 us (12 days) as that.
// Not thread-safe. 34 KiB.
class LatencyHistogram {
 public:
  void Record(int64_t us);
  void Merge(const LatencyHistogram& other);

  int64_t count() const { return count_; }
  int64_t max_us() const { return max_us_; }
  int64_t min_us() const { return count_ == 0 ? 0 : min_us_; }
  double mean_us() const;
  // The smallest recorded value (as its bucket's largest) that at least
  // `percent` of all are not above; 0 when empty. 100 is the maximum, exactly.
  int64_t PercentileUs(double percent) const;

 private:
  static constexpr int kExactBits = 8;       // below 256: one value a bucket
  static constexpr int kSubBuckets = 128;    // of each power of two above
  static constexpr int kValueBits = 40;
  static constexpr int kBuckets =
      (1 << kExactBits) + (kValueBits - kExactBits) * kSubBuckets;

  static int BucketOf(int64_t us);
  static int64_t LargestOf(int bucket);

  std::array<int64_t, kBuckets> buckets_{};
  int64_t count_ = 0;
  int64_t max_us_ = 0;
  int64_t min_us_ = INT64_MAX;
  double sum_us_ = 0;
};

}  // namespace sluice::cli
