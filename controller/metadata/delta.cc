#include "controller/metadata/delta.h"

#include <google/protobuf/unknown_field_set.h>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/batch_applier.h"

namespace sluice {
namespace {

template <class Id>
void MergeSets(std::set<Id>& created, std::set<Id>& changed,
               std::set<Id>& removed, const std::set<Id>& then_created,
               const std::set<Id>& then_changed,
               const std::set<Id>& then_removed) {
  for (const Id& id : then_removed) {
    changed.erase(id);
    if (created.erase(id) == 0) removed.insert(id);
  }
  // Ids are never used again (MD7): nothing created was removed before.
  created.insert(then_created.begin(), then_created.end());
  for (const Id& id : then_changed) {
    if (!created.count(id)) changed.insert(id);
  }
}

}  // namespace

absl::StatusOr<AppliedBatch> ApplyBatch(
    const MetadataImage& before, const internal::v1::MetadataBatch& batch,
    LogIndex offset, Term term) {
  if (offset <= before.offset() || term < before.term()) {
    return MakeError(ErrorCode::kInvalidRecord, "metadata offset ", offset,
                     " of term ", term, " does not follow offset ",
                     before.offset(), " of term ", before.term());
  }
  if (!batch.GetReflection()->GetUnknownFields(batch).empty()) {
    return MakeError(ErrorCode::kUnsupportedFormat, "metadata offset ", offset,
                     " has a batch field that this program does not know; a "
                     "newer version wrote it: upgrade this node");
  }
  BatchApplier applier(before, offset, term);
  for (const auto& record : batch.records()) {
    RETURN_IF_ERROR(applier.Apply(record));
  }
  return applier.Finish();
}

MetadataChanges EverythingIn(const MetadataImage& image) {
  MetadataChanges changes;
  for (const auto& [id, topic] : image.topics()) {
    changes.topics_created.insert(id);
    for (const auto& [index, partition] : topic->partitions) {
      changes.partitions_created.insert(TopicPartition{id, index});
    }
  }
  for (const auto& [id, broker] : image.brokers()) {
    changes.brokers_changed.insert(id);
  }
  changes.configs_changed = !image.configs().empty();
  return changes;
}

void MergeInto(MetadataChanges& first, const MetadataChanges& second) {
  MergeSets(first.topics_created, first.topics_changed, first.topics_removed,
            second.topics_created, second.topics_changed,
            second.topics_removed);
  MergeSets(first.partitions_created, first.partitions_changed,
            first.partitions_removed, second.partitions_created,
            second.partitions_changed, second.partitions_removed);
  first.brokers_changed.insert(second.brokers_changed.begin(),
                               second.brokers_changed.end());
  first.configs_changed |= second.configs_changed;
}

}  // namespace sluice
