// Where a view lies in the store of its data directory: under a prefix of its
// own, in front of the keys of broker/offsets/committed_offset.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace sluice::coordinator {

// In front of every view of __consumer_offsets; other internal topics' will
// have another letter. 'o' and a version.
inline constexpr std::string_view kViewTag = "o\x01";

std::string ViewPrefixOf(const TopicPartition& tp);
// Whose prefix the key has; nullopt: nobody's.
std::optional<TopicPartition> ViewOfKey(std::string_view key);
// The first key behind all that begin with `prefix`, which has a byte below
// 0xff.
std::string EndOfPrefix(std::string prefix);

}  // namespace sluice::coordinator
