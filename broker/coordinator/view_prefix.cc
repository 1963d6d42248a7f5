#include "broker/coordinator/view_prefix.h"

#include "common/base/bytes.h"

namespace sluice::coordinator {
namespace {

constexpr size_t kTopicIdBytes = 16;
constexpr size_t kPartitionBytes = 4;

}  // namespace

std::string ViewPrefixOf(const TopicPartition& tp) {
  std::string prefix(kViewTag);
  prefix += tp.topic_id.ToBytes();
  PutBig32(prefix, static_cast<uint32_t>(tp.partition.value()));
  return prefix;
}

std::optional<TopicPartition> ViewOfKey(std::string_view key) {
  if (key.size() < kViewTag.size() + kTopicIdBytes + kPartitionBytes ||
      !key.starts_with(kViewTag)) {
    return std::nullopt;
  }
  key.remove_prefix(kViewTag.size());
  const auto topic_id = TopicId::FromBytes(key.substr(0, kTopicIdBytes));
  if (!topic_id.has_value()) return std::nullopt;
  const uint32_t partition = LoadBig32(key.data() + kTopicIdBytes);
  return TopicPartition{*topic_id,
                        PartitionIndex(static_cast<int32_t>(partition))};
}

std::string EndOfPrefix(std::string prefix) {
  while (static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

}  // namespace sluice::coordinator
