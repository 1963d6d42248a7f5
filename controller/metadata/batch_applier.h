// Applies the records of one batch, one after the other, to a copy of an
// image. Used by ApplyBatch alone (delta.h).
#pragma once

#include <map>
#include <memory>

#include "absl/status/status.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"

namespace sluice {

// Usage: Apply each record, then Finish once. After an error the object is of
// no use.
class BatchApplier {
 public:
  BatchApplier(const MetadataImage& before, LogIndex offset, Term term);

  absl::Status Apply(const internal::v1::MetadataRecord& record);
  AppliedBatch Finish();

 private:
  absl::Status On(const internal::v1::FeatureLevelRecord& record);
  absl::Status On(const internal::v1::RegisterBrokerRecord& record);
  absl::Status On(const internal::v1::BrokerChangeRecord& record);
  absl::Status On(const internal::v1::TopicRecord& record);
  absl::Status On(const internal::v1::RemoveTopicRecord& record);
  absl::Status On(const internal::v1::PartitionRecord& record);
  absl::Status On(const internal::v1::PartitionChangeRecord& record);
  absl::Status On(const internal::v1::ConfigRecord& record);
  absl::Status On(const internal::v1::ProducerIdsRecord& record);
  absl::Status OnTopicConfig(const internal::v1::ConfigRecord& record);
  static absl::Status OnElectionState(
      const TopicPartition& tp,
      const internal::v1::PartitionChangeRecord& record, PartitionImage& next);

  // A copy of the topic that may be changed until Finish: a batch that touches
  // 10,000 partitions of one topic copies it once. Null: no such topic.
  TopicImage* Edit(const TopicId& id);
  void NoteChanged(const TopicPartition& tp);

  std::shared_ptr<MetadataImage> image_;
  MetadataChanges changes_;
  std::map<TopicId, std::shared_ptr<TopicImage>> edited_;
};

}  // namespace sluice
