#include "broker/offsets/offset_expiry.h"

#include "common/base/mutant.h"

namespace sluice::offsets {
namespace {

constexpr std::string_view kConsumers = "consumer";

bool MaySubscribe(const GroupUse& group, std::string_view topic) {
  if (group.subscribed_topics.has_value()) {
    return group.subscribed_topics->count(std::string(topic)) > 0;
  }
  return group.protocol_type == kConsumers;
}

// Since when it is out of use; nullopt: it is in use.
std::optional<int64_t> UnusedSinceMs(const GroupUse& group,
                                     const OffsetUse& offset) {
  if (group.protocol_type.empty()) return offset.committed_ms;
  if (group.empty) {
    return group.empty_since_ms >= 0 ? group.empty_since_ms
                                     : offset.committed_ms;
  }
  // Of members that are about to say what they read, and of those who never
  // say it, nothing expires.
  const bool known = group.stable && group.protocol_type == kConsumers &&
                     group.subscribed_topics.has_value();
  if (!known) return std::nullopt;
  return offset.committed_ms;
}

}  // namespace

bool IsExpired(ExpiryRule rule, const GroupUse& group, const OffsetUse& offset,
               int64_t retention_ms, int64_t now_ms) {
  if (!offset.topic_exists) return true;
  if ((rule == ExpiryRule::kWithTopic && !MUTANT(kOffsetsExpireByDefault)) ||
      offset.transaction_pending) {
    return false;
  }
  if (!group.empty && MaySubscribe(group, offset.topic) &&
      !MUTANT(kOffsetsInUseExpire)) {
    return false;
  }
  const auto since_ms = UnusedSinceMs(group, offset);
  return since_ms.has_value() && now_ms - *since_ms >= retention_ms;
}

}  // namespace sluice::offsets
