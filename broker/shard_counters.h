// What a shard counts for metrics.
#pragma once

#include <cstdint>

namespace sluice {

// Counted by the shard's thread, read by it when metrics are collected. They
// only rise.
struct ShardCounters {
  int64_t appended_bytes = 0;       // as leader
  int64_t appended_batches = 0;     // appends as leader
  int64_t duplicates_answered = 0;  // produces whose batches were stored before
  int64_t replicated_bytes = 0;     // as follower
  int64_t catch_up_bytes = 0;       // of those, by catch-up streams
  int64_t read_bytes = 0;           // by consumers
  int64_t isr_changes = 0;          // of partitions led here
  int64_t truncations = 0;
  int64_t failed_replicas = 0;
  // Appends that found no room on the disk, or no descriptor.
  int64_t appends_without_room = 0;
  // Leaders that had accepted a replica out of the ISR and sent it nothing.
  int64_t silent_leaders = 0;

  ShardCounters& operator+=(const ShardCounters& other) {
    appended_bytes += other.appended_bytes;
    appended_batches += other.appended_batches;
    duplicates_answered += other.duplicates_answered;
    replicated_bytes += other.replicated_bytes;
    catch_up_bytes += other.catch_up_bytes;
    read_bytes += other.read_bytes;
    isr_changes += other.isr_changes;
    truncations += other.truncations;
    failed_replicas += other.failed_replicas;
    appends_without_room += other.appends_without_room;
    silent_leaders += other.silent_leaders;
    return *this;
  }
};

}  // namespace sluice
