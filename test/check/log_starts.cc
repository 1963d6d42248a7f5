// Where logs begin (RP23, F34): not before it is recorded, and for readers never
// earlier again.
#include <algorithm>

#include "common/base/str_cat.h"
#include "test/check/replication_invariants.h"

namespace sluice::check {

Offset ReplicationInvariants::LogStartOf(const ReplicaView& view,
                                      const PartitionImage& state) {
  return std::max(view.log_start, state.log_start);
}

void ReplicationInvariants::CheckLogStart(const Scene& scene) {
  const ReplicaView& now = scene.now;
  findings_.Check(
      Rule::kRP23, now.log_start <= scene.state.log_start, [&] {
        return StrCat(Where(scene), " deleted what no trim that is recorded "
                      "has: the log begins at ", scene.state.log_start);
      });
  if (now.state != replica::State::kLeading) return;
  Record& record = scene.record;
  // A deposed leader need not know what its successors have shown.
  findings_.Check(
      Rule::kRP23,
      now.log_start >= record.shown_start ||
          now.leader_epoch < record.shown_epoch,
      [&] {
        return StrCat(Where(scene), " shows what was deleted: in epoch ",
                      record.shown_epoch, " the log began at ",
                      record.shown_start);
      });
  if (now.leader_epoch < record.shown_epoch) return;
  record.shown_epoch = now.leader_epoch;
  record.shown_start = std::max(record.shown_start, now.log_start);
}

}  // namespace sluice::check
