// Between decisions and the log: applies what commits, and keeps the state as
// it will be once everything under way has committed, so that decisions need
// not wait for each other.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"
#include "controller/metadata_log.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// Invariant: latest() is committed() plus the batches proposed in this term
// and not yet committed, in order. Without any, they are the same object.
// Belongs to the controller's executor.
class DecisionPipeline {
 public:
  static constexpr size_t kPendingBatchesMax = 4096;
  static constexpr size_t kPendingBytesMax = 24 << 20;

  explicit DecisionPipeline(MetadataLog* log);
  ~DecisionPipeline();

  const std::shared_ptr<const MetadataImage>& committed() const {
    return committed_;
  }
  const std::shared_ptr<const MetadataImage>& latest() const { return latest_; }

  using Done = absl::AnyInvocable<void(absl::StatusOr<LogIndex>)>;

  // Decided against latest(). `done` runs once with the offset at which it
  // committed, when committed() has it, or with an error: NOT_CONTROLLER,
  // BUSY: nothing happened; OUTCOME_UNKNOWN; UNKNOWN_SERVER_ERROR when replay
  // would refuse the batch: it is not proposed, since every node would stop at
  // it. A batch over kBatchBytesMax goes in several, in order.
  void Propose(internal::v1::MetadataBatch batch, Done done);

  // Runs `done` with OK once everything that latest() holds now has committed
  // and a quorum confirmed, by a round begun after the call, that this node
  // leads; else with NOT_CONTROLLER.
  void Confirm(absl::AnyInvocable<void(absl::Status)> done);

  // The next committed entry. An error: this node must stop (MD8).
  absl::StatusOr<MetadataChanges> Commit(const CommittedEntry& entry,
                                         internal::v1::MetadataBatch* parsed);

  // A term of leadership begins.
  void Begin(Term term);
  // It ended: what is under way is answered with OUTCOME_UNKNOWN.
  void End(const absl::Status& why);

 private:
  struct Pending {
    LogIndex index;
    size_t bytes;
    Done done;
  };
  absl::StatusOr<LogIndex> ProposeOne(const internal::v1::MetadataBatch& batch,
                                      Done done);
  void OnDone(LogIndex index, absl::Status status);
  void RunWaiters();
  void AddWaiter(LogIndex index, absl::AnyInvocable<void(absl::Status)> done);

  MetadataLog* const log_;
  std::shared_ptr<const MetadataImage> committed_;
  std::shared_ptr<const MetadataImage> latest_;
  bool active_ = false;
  Term term_{0};
  std::map<LogIndex, Pending> pending_;
  size_t pending_bytes_ = 0;
  LogIndex last_proposed_{0};
  // Confirmed refusals that wait for the batches they were decided on.
  std::multimap<LogIndex, absl::AnyInvocable<void(absl::Status)>> waiters_;
  // Callbacks of the log hold it weakly; new with each term.
  std::shared_ptr<bool> alive_;
};

// Cut in order, each piece at most `bytes_max` (but at least one record).
std::vector<internal::v1::MetadataBatch> SplitBatch(
    internal::v1::MetadataBatch batch, size_t bytes_max);

}  // namespace sluice
