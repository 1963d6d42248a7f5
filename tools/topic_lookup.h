// What a command asks about a topic before it begins.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tools/cli_context.h"

namespace sluice::cli {

// A topic that was created a moment ago may not have reached the broker that
// answers; one unknown for longer than this does not exist.
inline constexpr int64_t kNewTopicWaitUs = 1'000'000;

// UNKNOWN_TOPIC_OR_PARTITION when there is no such topic.
absl::StatusOr<int32_t> PartitionCountOf(const Context& context,
                                         BlockingClient* client,
                                         const std::string& topic);

// All partitions of the topic, or `chosen`, each of which must exist.
absl::StatusOr<std::vector<NamedPartition>> PartitionsOf(
    const Context& context, BlockingClient* client, const std::string& topic,
    const std::vector<int32_t>& chosen);

// What a broker says of one topic of a request, as a status that names it.
absl::Status TopicError(const std::string& topic, const v1::Error& error);

// "none", "lz4", "zstd".
absl::StatusOr<Codec> CodecFromName(const std::string& name);
// "all" or "-1", "0", "1".
absl::StatusOr<int32_t> AcksFromName(const std::string& name);

}  // namespace sluice::cli
