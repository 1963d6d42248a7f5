// Replay of arbitrary metadata batches (controller/metadata/delta.h; MD1, MD3,
// MD8, RP17).
//
// Property: a batch is applied whole, or refused with INVALID_RECORD or
// UNSUPPORTED_FORMAT and the image before stays as it was. What is applied
// holds nothing that this program does not know, at any depth. Equal batches
// give equal images (MetaHash), the image is consistent in itself, and the
// changes are exactly the differences between the images before and after,
// also merged over all batches.
//
// Input: whether to begin with an empty cluster or a small one, then batches,
// each a length and a MetadataBatch.
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/invariant.h"
#include "controller/metadata/delta.h"
#include "controller/metadata/image.h"
#include "test/fuzz/fuzz_input.h"
#include "test/fuzz/image_checks.h"
#include "test/fuzz/metadata_start.h"
#include "test/fuzz/quiet_protobuf.h"

namespace sluice::fuzz {
namespace {

using Image = std::shared_ptr<const MetadataImage>;
using internal::v1::MetadataBatch;

constexpr int kBatchesMax = 32;

bool HasUnknown(const google::protobuf::Message& message) {
  const auto* reflection = message.GetReflection();
  if (!reflection->GetUnknownFields(message).empty()) return true;
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() !=
        google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    }
    if (!field->is_repeated()) {
      if (HasUnknown(reflection->GetMessage(message, field))) return true;
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      if (HasUnknown(reflection->GetRepeatedMessage(message, field, i))) {
        return true;
      }
    }
  }
  return false;
}

bool SameTopic(const TopicImage& a, const TopicImage& b) {
  return a.name == b.name && a.write_fenced == b.write_fenced &&
         a.configs == b.configs;
}

// Nothing that differs between two images is missing from the changes, and
// what was created or removed is.
void CheckChanges(const MetadataImage& before, const MetadataImage& after,
                  const MetadataChanges& changes) {
  for (const auto& [id, topic] : after.topics()) {
    const TopicImage* old = before.FindTopic(id);
    INVARIANT(changes.topics_created.count(id) == (old == nullptr),
              "topic ", id, " created");
    INVARIANT(old == nullptr || SameTopic(*old, *topic) ||
                  changes.topics_changed.count(id) == 1,
              "topic ", id, " changed");
    for (const auto& [index, partition] : topic->partitions) {
      const TopicPartition tp{id, index};
      const PartitionImage* was = before.FindPartition(tp);
      INVARIANT(changes.partitions_created.count(tp) == (was == nullptr),
                "partition ", tp, " created");
      INVARIANT(was == nullptr || *was == *partition ||
                    changes.partitions_changed.count(tp) == 1,
                "partition ", tp, " changed");
      INVARIANT(changes.partitions_removed.count(tp) == 0, "partition ", tp,
                " is there and removed");
    }
  }
  for (const auto& [id, topic] : before.topics()) {
    const bool gone = after.FindTopic(id) == nullptr;
    INVARIANT(changes.topics_removed.count(id) == gone, "topic ", id,
              " removed");
    for (const auto& [index, partition] : topic->partitions) {
      INVARIANT(!gone || changes.partitions_removed.count({id, index}) == 1,
                "partition ", index, " of ", id, " removed");
    }
  }
  for (const TopicId& id : changes.topics_created) {
    INVARIANT(after.FindTopic(id) != nullptr, "created ", id, " is not there");
  }
  for (const auto& [id, broker] : after.brokers()) {
    const BrokerImage* old = before.FindBroker(id);
    INVARIANT(old == broker.get() || changes.brokers_changed.count(id) == 1,
              "broker ", id, " changed");
  }
  INVARIANT(before.configs() == after.configs() || changes.configs_changed,
            "configurations changed");
}

// Null: refused.
Image Replay(const Image& before, const MetadataBatch& batch,
             MetadataChanges& changes) {
  const uint64_t hash = MetaHash(*before);
  const LogIndex offset = before->offset().Next();
  const auto applied = ApplyBatch(*before, batch, offset, before->term());
  const auto twin = ApplyBatch(*before, batch, offset, before->term());
  INVARIANT(MetaHash(*before) == hash, "MD3 the image before changed");
  INVARIANT(applied.status() == twin.status(), "MD1 ",
            applied.status().ToString(), ", then ", twin.status().ToString());
  if (!applied.ok()) {
    const ErrorCode code = CodeOf(applied.status());
    INVARIANT(code == ErrorCode::kInvalidRecord ||
                  code == ErrorCode::kUnsupportedFormat,
              "not promised: ", applied.status().ToString());
    return nullptr;
  }
  INVARIANT(!HasUnknown(batch), "MD8 something unknown was skipped");
  INVARIANT(MetaHash(*applied->image) == MetaHash(*twin->image),
            "MD1 equal batches, different images");
  INVARIANT(applied->image->offset() == offset, "offset ",
            applied->image->offset());
  CheckConsistent(*applied->image);
  CheckChanges(*before, *applied->image, applied->changes);
  changes = applied->changes;
  return applied->image;
}

// Controllers never do so (MD7); replay sees it within one batch only.
bool UsesIdAgain(const MetadataChanges& before, const MetadataChanges& then) {
  return std::any_of(
      then.topics_created.begin(), then.topics_created.end(),
      [&](const TopicId& id) { return before.topics_removed.count(id) > 0; });
}

void Check(FuzzInput& in) {
  const Image start =
      in.Below(2) == 0 ? MetadataImage::Empty() : SmallCluster();
  Image image = start;
  MetadataChanges merged;
  for (int i = 0; i < kBatchesMax && !in.empty(); ++i) {
    const std::string_view bytes = in.Piece();
    MetadataBatch batch;
    if (!batch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      continue;
    }
    MetadataChanges changes;
    const Image next = Replay(image, batch, changes);
    if (next == nullptr) continue;
    if (UsesIdAgain(merged, changes)) break;
    MergeInto(merged, changes);
    image = next;
  }
  CheckChanges(*start, *image, merged);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  sluice::fuzz::Check(input);
  return 0;
}
