#include "broker/idempotent_producer_testing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

#include "broker/cluster_oracle_testing.h"
#include "common/base/error.h"
#include "storage/batch_testing.h"

namespace sluice {
namespace {

using End = SimCluster::End;

constexpr int kBrokers = 3;
constexpr int64_t kReadBytesMax = 1 << 20;

// All of a log's batches, from its files.
std::string BytesOf(const Log& log, std::string& why) {
  std::string bytes;
  for (Offset at = log.log_start(); at < log.leo();) {
    auto plan = const_cast<Log&>(log).PlanRead(at, log.leo(), kReadBytesMax);
    auto read = plan.ok() ? ExecuteRead(*plan, /*no_wait=*/false)
                          : absl::StatusOr<std::optional<ReadResult>>(
                                plan.status());
    if (!read.ok() || (*read)->next_offset <= at) {
      why = read.ok() ? "a gap" : read.status().ToString();
      return bytes;
    }
    bytes.append((*read)->batches.view());
    at = (*read)->next_offset;
  }
  return bytes;
}

}  // namespace

std::string IdempotentProducer::ValueOf(int64_t number) const {
  return StrCat("p", id_, "-", number);
}

void IdempotentProducer::Pump() {
  const int64_t now_us = cluster_->world().MonoMicros();
  while (flight_.size() < kProducerBatchesKept &&
         acknowledged_ + static_cast<int64_t>(flight_.size()) < wanted_) {
    flight_.push_back(
        {acknowledged_ + static_cast<int64_t>(flight_.size())});
  }
  for (Batch& batch : flight_) {
    if (!batch.place.has_value() && now_us - batch.sent_us >= kAgainUs) {
      Send(batch);
    }
  }
}

void IdempotentProducer::Send(Batch& batch) {
  batch.sent_us = cluster_->world().MonoMicros();
  const PartitionImage& state = *cluster_->image().FindPartition(tp_);
  const int leader = state.leader.value();
  if (leader < 1 || !cluster_->is_running(leader)) return;
  AppendRequest request;
  request.tp = tp_;
  request.batches =
      MakeBatch({.value = ValueOf(batch.number),
                 .timestamp_ms = cluster_->world().WallMillis(),
                 .producer_id = id_,
                 .producer_epoch = 0,
                 .base_sequence = static_cast<int32_t>(batch.number)});
  request.deadline_us = batch.sent_us + kAgainUs * 2;
  cluster_->AtShard(
      leader, tp_,
      [this, alive = alive_, number = batch.number,
       request = std::move(request)](Shard& at) mutable {
        at.Append(std::move(request), [] {},
                  [this, alive, number](AppendOutcome outcome) {
                    if (*alive) OnOutcome(number, outcome);
                  });
      });
}

// Requests overtake each other on their way.
void IdempotentProducer::SendAgainSoon(int64_t number) {
  for (Batch& batch : flight_) {
    if (batch.number != number) continue;
    batch.sent_us =
        cluster_->world().MonoMicros() - kAgainUs + kAfterRefusalUs;
  }
}

void IdempotentProducer::OnOutcome(int64_t number,
                                   const AppendOutcome& outcome) {
  switch (outcome.error.code) {
    case ErrorCode::kNone:
      break;
    case ErrorCode::kDuplicateSequence:
      // A late copy of one that was acknowledged meanwhile.
      if (number < acknowledged_) return;
      [[fallthrough]];
    case ErrorCode::kUnknownProducerId:
    case ErrorCode::kInvalidProducerEpoch:
    case ErrorCode::kInvalidRecord:
      // At the beginning a later batch may arrive first.
      if (outcome.error.code == ErrorCode::kUnknownProducerId &&
          acknowledged_ == 0) {
        return;
      }
      fault_ = outcome.error.message;
      return;
    default:
      last_refusal_ = outcome.error.message;
      SendAgainSoon(number);
      return;
  }
  const auto [place, is_first] =
      places_.emplace(number, outcome.base_offset);
  if (!is_first && place->second != outcome.base_offset) {
    fault_ = StrCat("IP2: ", ValueOf(number), " at ", place->second,
                    " and at ", outcome.base_offset);
  }
  for (Batch& batch : flight_) {
    if (batch.number == number) batch.place = outcome.base_offset;
  }
  while (!flight_.empty() && flight_.front().place.has_value()) {
    flight_.pop_front();
    ++acknowledged_;
  }
}

std::string IdempotentProducer::Check(
    const std::map<Offset, std::string>& log) const {
  int64_t next = 0;
  const std::string own = StrCat("p", id_, "-");
  for (const auto& [offset, value] : log) {
    if (value.compare(0, own.size(), own) != 0) continue;
    if (value != ValueOf(next)) {
      return StrCat("IP1: ", value, " at ", offset, " where ", ValueOf(next),
                    " is next");
    }
    const auto place = places_.find(next);
    if (place != places_.end() && place->second != offset) {
      return StrCat("IP2: ", value, " at ", offset, ", acknowledged at ",
                    place->second);
    }
    ++next;
  }
  return next >= acknowledged_
             ? ""
             : StrCat("RP1: ", ValueOf(next), " is acknowledged and lost");
}

std::string ProducersAgainstLog(const Log& log) {
  std::string why;
  const std::string bytes = BytesOf(log, why);
  if (!why.empty()) return why;
  ProducerTable told;
  BatchCursor cursor(bytes);
  for (;;) {
    const auto batch = cursor.Next();
    if (!batch.ok()) return batch.status().ToString();
    if (!batch->has_value()) break;
    told.Apply((*batch)->header());
  }
  return told == log.producers()
             ? ""
             : StrCat("IP4: ", log.path(), " knows ", log.producers().size(),
                      " producers otherwise than its batches tell of ",
                      told.size());
}

namespace {

class Run {
 public:
  explicit Run(uint64_t seed)
      : random_(seed),
        cluster_({.brokers = kBrokers,
                  .seed = seed,
                  .lose_one_proposal_in = seed % 3 == 0 ? 4u : 0u}),
        client_(&cluster_) {}

  void All() {
    cluster_.StartAll();
    cluster_.world().RunFor(1'000'000);
    tp_ = cluster_.CreateTopic("t", {1, 2, 3},
                               {{"min.insync.replicas", "2"},
                                {"segment.bytes", "4096"}});
    for (int64_t id = 1; id <= 3; ++id) {
      producers_.push_back(
          std::make_unique<IdempotentProducer>(&cluster_, tp_, id));
    }
    const int steps = 20 + static_cast<int>(random_.Below(30));
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      Step();
    }
    Heal();
  }

 private:
  void Step() {
    for (auto& producer : producers_) {
      for (uint64_t i = random_.Below(12); i > 0; --i) producer->Add();
    }
    Disturb();
    RunFor(random_.Between(0, random_.OneIn(4) ? 3'000'000 : 300'000));
    CheckReplicas();
  }

  void Disturb() {
    const int id = 1 + static_cast<int>(random_.Below(kBrokers));
    const End ends[] = {End::kKill, End::kPowerLossOfAll,
                        End::kPowerLossPrefix, End::kPowerLossSectors};
    switch (random_.Below(8)) {
      case 0:
      case 1:
        return cluster_.Stop(id, ends[random_.Below(4)]);
      case 2:
        if (!random_.OneIn(4)) return;
        for (int each = 1; each <= kBrokers; ++each) {
          cluster_.Stop(each, ends[random_.Below(4)]);
        }
        return;
      case 3:
        return cluster_.network().Cut(NodeId(id), NodeId(1 + id % kBrokers));
      case 4:
        return cluster_.network().Break(NodeId(id), NodeId(1 + id % kBrokers));
      case 5:
        return cluster_.network().Heal();
      default:
        for (int each = 1; each <= kBrokers; ++each) {
          if (!cluster_.is_running(each)) return cluster_.Start(each);
        }
    }
  }

  void RunFor(int64_t us) {
    const int64_t end_us = cluster_.world().MonoMicros() + us;
    do {
      for (auto& producer : producers_) producer->Pump();
      cluster_.world().RunFor(20'000);
    } while (cluster_.world().MonoMicros() < end_us);
  }

  void CheckReplicas() {
    for (int id = 1; id <= kBrokers; ++id) {
      SimBroker* broker = cluster_.broker(id);
      const Partition* replica =
          broker == nullptr ? nullptr : broker->Find(tp_);
      if (replica == nullptr || replica->failed()) continue;
      EXPECT_EQ(ProducersAgainstLog(replica->log()), "");
    }
    for (auto& producer : producers_) EXPECT_EQ(producer->fault(), "");
  }

  void Heal() {
    cluster_.network().Heal();
    for (int id = 1; id <= kBrokers; ++id) {
      if (!cluster_.is_running(id)) cluster_.Start(id);
    }
    ASSERT_TRUE(cluster_.RunUntilHealthy(tp_)) << cluster_.Describe(tp_);
    for (int i = 0; i < 600 && !AllDone(); ++i) RunFor(100'000);
    for (auto& producer : producers_) {
      EXPECT_TRUE(producer->done()) << producer->last_refusal() << '\n'
                                    << cluster_.Describe(tp_);
    }
    cluster_.world().RunFor(1'000'000);
    CheckReplicas();
    EXPECT_EQ(client_.CheckReplicas(tp_, /*converged=*/true), "");
    std::string why;
    const Log& log = cluster_.broker(cluster_.Leader(tp_))->Find(tp_)->log();
    const std::string bytes = BytesOf(log, why);
    std::map<Offset, std::string> records;
    ASSERT_EQ(DecodeValues(bytes, records), "");
    for (auto& producer : producers_) EXPECT_EQ(producer->Check(records), "");
  }
  bool AllDone() const {
    return std::all_of(producers_.begin(), producers_.end(),
                       [](const auto& producer) { return producer->done(); });
  }

  Random random_;
  SimCluster cluster_;
  SimClient client_;
  TopicPartition tp_;
  std::vector<std::unique_ptr<IdempotentProducer>> producers_;
};

}  // namespace

void RunIdempotentProducers(uint64_t seed) { Run(seed).All(); }

}  // namespace sluice
