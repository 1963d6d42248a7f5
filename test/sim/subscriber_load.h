// The subscribers of a run, and what they were given.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/record_reader.h"
#include "test/sim/history_recorder.h"
#include "test/sim/record_ledger.h"
#include "test/sim/subscriber.h"

namespace sluice::sim {

class SubscriberLoad {
 public:
  struct Deps {
    SimCluster* cluster = nullptr;
    std::vector<SubscriberPlan> plans;
    std::vector<NamedPartition> partitions;
    int first_consumer = 0;  // of the history
    HistoryRecorder* history = nullptr;
    RecordLedger* ledger = nullptr;
    // Each record that was given.
    std::function<void(const NamedPartition&, const DecodedRecord&)> on_record;
    std::function<void(const std::string&)> report;
  };

  explicit SubscriberLoad(Deps deps);

  void Start();
  // How slow a program is says nothing about whether a run converges.
  void Hurry();
  // They read no more.
  void Stop();
  // Which of them is not where this partition ends; "": all are.
  std::string WhyNotRead(const NamedPartition& tp, Offset high_watermark) const;
  const SubscriberCounts& counts() const { return counts_; }

 private:
  struct Program {
    int number = 0;
    std::map<NamedPartition, int64_t> session;  // of the history
    std::unique_ptr<Subscriber> subscriber;
  };

  void Add(const SubscriberPlan& plan);
  Offset Take(Program& program, const Subscriber::Push& push);
  void Judge(const Subscriber::Push& push) const;
  std::optional<Offset> OnOutOfRange(Program& program, const NamedPartition& tp,
                                     Offset position);

  const Deps deps_;
  SubscriberCounts counts_;
  std::vector<std::unique_ptr<Program>> programs_;
};

}  // namespace sluice::sim
