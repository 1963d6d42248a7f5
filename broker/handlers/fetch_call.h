// One Fetch request: rounds of reads in the order asked, and waits in between.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "broker/handlers/handler_deps.h"
#include "broker/partition_host.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Filled by one thread, then launched; from then on it belongs to the executor
// of its first readable partition's shard. Kept alive by the reads under way,
// by its timer while it waits, and weakly by the waits.
//
// A round visits the partitions that may have something new, in the order
// asked, run by run of partitions that live on one shard. `max_bytes` is spent
// in that order: the first batch of the answer comes whole however large it
// is, every other one only while it fits.
class FetchCall : public std::enable_shared_from_this<FetchCall> {
 public:
  struct Options {
    int64_t min_bytes = 1;
    int64_t max_bytes = 0;
    int64_t deadline_us = 0;  // until then it may wait
    api::Isolation isolation = api::Isolation::kReadUncommitted;
    api::PayloadForm form = api::PayloadForm::kRecords;
    std::string rack;  // of the reader; set: followers may be read
    std::shared_ptr<Budget> waiting;
    std::shared_ptr<Budget> memory;  // of what is read, until it is sent
  };
  struct Target {
    TopicPartition tp;
    Offset offset;
    int32_t max_bytes = 0;
    std::optional<LeaderEpoch> leader_epoch;
    std::optional<LeaderEpoch> last_fetched_epoch;
  };

  FetchCall(const HandlerDeps& deps, Options options,
            api::Answer<api::FetchResponse> done);

  // In the order of the answer.
  void AddRefused(api::FetchResult result);
  void AddRead(api::FetchResult result, const Target& target);

  // Once. Answers on a thread of the broker's, later.
  void Launch();
  // Any thread: answers with what is there, releases everything.
  void Cancel();

 private:
  struct Slot {
    api::FetchResult result;
    Target target;
    PartitionHost* host = nullptr;  // null: refused
    Offset read_from;               // the next to read
    int64_t bytes = 0;              // read so far
    bool full = false;              // has what this answer may hold of it
    // Belongs to home_:
    bool waits = false;  // is registered, or about to be
    // Belongs to the host's executor:
    WaitId wait_id = 0;
  };
  // Slots in a row on one shard, while they are read there. Nobody else looks
  // at the slots meanwhile.
  struct Run {
    PartitionHost* host = nullptr;
    std::vector<size_t> slots;
    size_t next = 0;          // in slots
    bool in_read = false;     // inside host->Read
    bool answered = false;    // before it returned
  };

  void StartRound(std::vector<size_t> slots);
  void StartRun();
  void ContinueRun(const std::shared_ptr<Run>& run);
  // True when it was answered inline.
  bool ReadOne(const std::shared_ptr<Run>& run, Slot& slot);
  // Room for what is about to be read; false: the budget has none.
  bool TakeMemory(int64_t bytes);
  void Probe(Slot& slot);
  void Take(Slot& slot, ReadOutcome outcome);
  void Fail(Slot& slot, api::ItemError error,
            std::optional<api::LeaderHint> leader);
  void OnRoundDone();

  void Wait();
  void Register(PartitionHost* host, const std::vector<size_t>& slots);
  void OnWake(size_t slot);
  void EndWait();
  void Finish(absl::Status status);

  const HandlerDeps deps_;
  const Options options_;
  api::Answer<api::FetchResponse> done_;
  std::vector<Slot> slots_;
  Executor* home_ = nullptr;

  // Of the answer so far; belong to whoever reads, else to home_.
  int64_t bytes_ = 0;
  bool full_ = false;    // the next batch did not fit
  bool starved_ = false;  // the broker has no memory for more
  Budget::Share memory_;
  bool failed_ = false;  // an error, or another replica to read: no waiting
  // On home_.
  std::vector<size_t> round_;  // slots to read, in order
  size_t round_next_ = 0;
  bool reading_ = false;
  std::vector<size_t> woken_;  // while reading
  absl::Status ended_;         // cancelled, or no room to wait
  bool finished_ = false;
  TimerId timer_ = 0;
  std::optional<Budget::Share> waiting_;
};

}  // namespace sluice
