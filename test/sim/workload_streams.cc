// Programs that speak to brokers themselves, on streams.
#include <utility>

#include "test/sim/workload.h"

namespace sluice::sim {
namespace {

// Of its records: above those of the library's producers.
constexpr int kStreamProducer = 100;

}  // namespace

void Workload::MakeSubscribers() {
  SubscriberLoad::Deps deps;
  deps.cluster = cluster_;
  deps.plans = plan_->subscribers;
  deps.partitions = partitions();
  deps.first_consumer = plan_->load.consumers + 1;  // behind who reads at last
  deps.history = &history_;
  deps.ledger = &ledger_;
  deps.on_record = [this](const NamedPartition& tp,
                          const DecodedRecord& record) {
    ++records_read_;
    Look(tp, record);
  };
  deps.report = report_;
  subscribers_ = std::make_unique<SubscriberLoad>(std::move(deps));
}

// What it sends is sent once: whatever the answer, it lies at one place at most.
void Workload::MakeStreamProducer() {
  StreamProducer::Deps deps;
  deps.cluster = cluster_;
  deps.plan = plan_->streamer;
  deps.record_bytes = plan_->load.record_bytes;  // as all records of the run
  deps.number = kStreamProducer;
  deps.partitions = partitions();
  deps.on_sent = [this](const NamedPartition& tp, const RecordName& name,
                        const std::string& value) {
    ledger_.OnSent(tp, name);
    history_.OnSent(tp, name, /*acks=*/-1, /*once=*/true, value);
  };
  deps.on_produced = [this](const api::ProduceResult& result,
                            LeaderEpoch epoch) {
    history_.OnProduced(result, epoch);
  };
  deps.on_settled = [this](const NamedPartition& tp, const RecordName& name,
                           const absl::StatusOr<Offset>& result) {
    history_.OnSettled(name, result);
    if (!result.ok()) return;
    ++streamed_;
    if (on_acked_) on_acked_(tp, *result, history_.AckedBy(tp));
  };
  deps.calls = &calls_;
  deps.report = report_;
  streamer_ = std::make_unique<StreamProducer>(std::move(deps));
}

void Workload::MakeWatcher() {
  MetadataWatcher::Deps deps;
  deps.cluster = cluster_;
  deps.move_every_us = plan_->watcher_moves_us;
  deps.report = report_;
  watcher_ = std::make_unique<MetadataWatcher>(std::move(deps));
}

}  // namespace sluice::sim
