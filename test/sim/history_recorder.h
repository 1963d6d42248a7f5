// The history of a run (test/check/history.h), as its clients tell it, for the
// judge that the chaos rig has too.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/client_types.h"
#include "client/fetched_batch.h"
#include "common/env/clock.h"
#include "test/check/history.h"
#include "test/check/history_checker.h"
#include "test/sim/client_observer.h"
#include "test/sim/record_ledger.h"

namespace sluice::sim {

// Partitions are those of the plan's topics; answers about others are ignored.
class HistoryRecorder final : public ClientObserver {
 public:
  HistoryRecorder(const Clock* clock,
                  const std::vector<NamedPartition>& partitions);

  // ---- Producers ----

  // `once`: by an idempotent producer. Others send again as they like.
  void OnSent(const NamedPartition& tp, const RecordName& name, int32_t acks,
              bool once, std::string_view value);
  // Offset, or why not. A definite error of an idempotent producer means that
  // the record is not stored, now or later (client/producer.h).
  void OnSettled(const RecordName& name, const absl::StatusOr<Offset>& result);

  // ---- Readers ----

  // One partition of one reader, from the partition's start.
  int64_t OpenSession(int32_t consumer, const NamedPartition& tp);
  // What a reader found in a batch, in order.
  struct Found {
    Offset offset;
    RecordName name;
    uint64_t hash = 0;  // of its value
  };
  using Records = std::vector<Found>;
  void OnPolled(int64_t session, const FetchedBatch& batch,
                const Records& records);
  // Everything a partition holds from `begin` on, when nothing happens any more;
  // what OnPolled said of `session`.
  void OnFinalRead(int64_t session, Offset begin, Offset end);

  // ---- What brokers answered ----

  void OnProduced(const api::ProduceResult& result,
                  LeaderEpoch leader_epoch) override;
  // The leader that acknowledged last; only while a send that it did is settled.
  LeaderEpoch AckedBy(const NamedPartition& tp) const {
    return acked_by_.at(NumberOf(tp));
  }
  void OnFetched(const api::FetchResponse& response, int64_t began_us) override;
  void OnListed(const api::ListOffsetsRequest& request,
                const api::ListOffsetsResponse& response,
                int64_t began_us) override;

  check::HistoryVerdict Judge(const check::HistoryScope& scope) const {
    return check::CheckHistory(history_, scope);
  }
  int32_t NumberOf(const NamedPartition& tp) const {
    return partitions_.at({tp.topic, tp.partition});
  }
  // Told of each answer to where a log begins.
  using OnEarliest = std::function<void(
      const NamedPartition&, const RecordLedger::Earliest&)>;
  void SetOnEarliest(OnEarliest on_earliest) {
    on_earliest_ = std::move(on_earliest);
  }
  const check::History& history() const { return history_; }

 private:
  void OnAnswer(check::Answer::Kind kind, const std::string& topic,
                PartitionIndex partition, int64_t began_us, LeaderEpoch epoch,
                Offset high_watermark);

  const Clock* const clock_;
  std::map<std::pair<std::string, PartitionIndex>, int32_t> partitions_;
  OnEarliest on_earliest_;
  std::map<RecordName, bool> once_;  // of what is not settled
  std::map<int32_t, LeaderEpoch> acked_by_;  // last, by partition
  check::History history_;
};

}  // namespace sluice::sim
