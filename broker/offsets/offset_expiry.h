// When a committed offset that nobody deleted goes (GR8).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace sluice::offsets {

enum class ExpiryRule {
  // While the topic exists, an offset stays. What a user expects.
  kWithTopic,
  // Kafka's: by age, when the group does not use it any more.
  kByAge,
};

// A group, as far as expiry looks at it.
struct GroupUse {
  std::string protocol_type;  // "": standalone, no group was ever formed
  bool empty = true;
  bool stable = false;
  std::optional<std::set<std::string>> subscribed_topics;  // nullopt: unknown
  int64_t empty_since_ms = -1;  // -1: not known
};

struct OffsetUse {
  std::string_view topic;
  bool topic_exists = true;  // with the id it was committed for
  int64_t committed_ms = 0;
  bool transaction_pending = false;  // a newer one waits for its marker
};

bool IsExpired(ExpiryRule rule, const GroupUse& group, const OffsetUse& offset,
               int64_t retention_ms, int64_t now_ms);

}  // namespace sluice::offsets
