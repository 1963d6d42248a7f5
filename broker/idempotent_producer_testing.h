// Idempotent producers of a simulated cluster that try each batch until it is
// acknowledged, several in flight, and what must come of it (IP1, IP2, IP4).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "broker/cluster_testing.h"
#include "storage/log.h"

namespace sluice {

// One producer of one partition: one record a batch, as many as are known
// again in flight from the oldest that is not acknowledged.
class IdempotentProducer {
 public:
  IdempotentProducer(SimCluster* cluster, TopicPartition tp, int64_t id)
      : cluster_(cluster), tp_(tp), id_(id) {}
  ~IdempotentProducer() { *alive_ = false; }
  IdempotentProducer(const IdempotentProducer&) = delete;

  // Another record to send.
  void Add() { ++wanted_; }
  // Sends what may be sent, and again what was not acknowledged for a while.
  void Pump();
  bool done() const { return acknowledged_ == wanted_; }
  // A refusal that no retry mends, or two places for one record; "" so far.
  const std::string& fault() const { return fault_; }
  // Why the last batch that was refused has to be tried again.
  const std::string& last_refusal() const { return last_refusal_; }
  // Against all that the log shows, by offset: each acknowledged record is
  // where that was said, all of them once and in order. "" when it is so.
  std::string Check(const std::map<Offset, std::string>& log) const;
  std::string ValueOf(int64_t number) const;

 private:
  static constexpr int64_t kAgainUs = 700'000;
  static constexpr int64_t kAfterRefusalUs = 10'000;
  struct Batch {
    int64_t number;
    int64_t sent_us = INT64_MIN / 2;
    std::optional<Offset> place;  // acknowledged there
  };
  void Send(Batch& batch);
  void SendAgainSoon(int64_t number);
  void OnOutcome(int64_t number, const AppendOutcome& outcome);

  SimCluster* const cluster_;
  const TopicPartition tp_;
  const int64_t id_;
  int64_t wanted_ = 0;
  int64_t acknowledged_ = 0;  // all below
  std::deque<Batch> flight_;
  std::map<int64_t, Offset> places_;
  std::string fault_;
  std::string last_refusal_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// IP4: what `log` knows of producers against what its batches say; "" when
// they agree.
std::string ProducersAgainstLog(const Log& log);

// A run: three brokers, one partition, kills, power cuts, cut networks, lost
// sessions. Reports through gtest.
void RunIdempotentProducers(uint64_t seed);

}  // namespace sluice
