// Replay, the only writer of metadata: one committed batch on top of an image
// gives the next image and what changed.
#pragma once

#include <memory>
#include <set>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

// Relative to the image before. A partition is in at most one of its sets; a
// removed topic's partitions are all in partitions_removed (the image before
// says where their replicas were).
struct MetadataChanges {
  std::set<TopicId> topics_created;
  std::set<TopicId> topics_changed;  // configs or the write fence
  std::set<TopicId> topics_removed;
  std::set<TopicPartition> partitions_created;
  std::set<TopicPartition> partitions_changed;
  std::set<TopicPartition> partitions_removed;
  std::set<NodeId> brokers_changed;
  bool configs_changed = false;  // of the cluster or of brokers
};

struct AppliedBatch {
  std::shared_ptr<const MetadataImage> image;
  MetadataChanges changes;
};

// Applies the batch whole or not at all (MD3). Errors are fatal for the node
// that replays a committed log, because skipping would diverge (MD8):
// UNSUPPORTED_FORMAT for a record or field that this program does not know or
// a feature level above its own, INVALID_RECORD for a record that does not fit
// the image (unknown topic id, epoch that does not rise, offset not above the
// image's).
absl::StatusOr<AppliedBatch> ApplyBatch(
    const MetadataImage& before, const internal::v1::MetadataBatch& batch,
    LogIndex offset, Term term);

// Every topic, partition and broker as created: for a reader's first image.
MetadataChanges EverythingIn(const MetadataImage& image);

// What changed from the image before `first` to the image after `second`.
void MergeInto(MetadataChanges& first, const MetadataChanges& second);

}  // namespace sluice
