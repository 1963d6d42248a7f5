#include "tools/topic_lookup.h"

#include <unistd.h>

#include "common/base/error.h"

namespace sluice::cli {

absl::StatusOr<int32_t> PartitionCountOf(const Context& context,
                                         BlockingClient* client,
                                         const std::string& topic) {
  v1::GetMetadataRequest request;
  request.add_topics()->set_name(topic);
  const int64_t end_us = context.clock().MonoMicros() + kNewTopicWaitUs;
  while (true) {
    const auto metadata = client->GetMetadata(request, context.timeout_us());
    if (!metadata.ok()) return metadata.status();
    if (metadata->topics_size() != 1) {
      return MakeError(ErrorCode::kUnknownServerError, "topic ", topic,
                       ": the broker answered without it");
    }
    const v1::TopicMetadata& found = metadata->topics(0);
    const ErrorCode code = CodeFromNumber(found.error().code());
    if (code == ErrorCode::kNone) return found.partitions_size();
    if (!IsRetriable(code) || context.clock().MonoMicros() > end_us) {
      return TopicError(topic, found.error());
    }
    usleep(50'000);
  }
}

absl::StatusOr<std::vector<NamedPartition>> PartitionsOf(
    const Context& context, BlockingClient* client, const std::string& topic,
    const std::vector<int32_t>& chosen) {
  const auto count = PartitionCountOf(context, client, topic);
  if (!count.ok()) return count.status();
  std::vector<NamedPartition> partitions;
  for (const int32_t partition : chosen) {
    if (partition < 0 || partition >= *count) {
      return MakeError(ErrorCode::kUnknownTopicOrPartition, "topic ", topic,
                       " has ", *count, " partitions, from 0; there is no ",
                       partition);
    }
    partitions.push_back({topic, PartitionIndex(partition)});
  }
  for (int32_t i = 0; chosen.empty() && i < *count; ++i) {
    partitions.push_back({topic, PartitionIndex(i)});
  }
  return partitions;
}

absl::Status TopicError(const std::string& topic, const v1::Error& error) {
  const ErrorCode code = CodeFromNumber(error.code());
  const bool named = error.message().find(topic) != std::string::npos;
  return MakeErrorStatus(code, named ? error.message()
                                     : StrCat("topic ", topic, ": ",
                                              error.message()));
}

absl::StatusOr<Codec> CodecFromName(const std::string& name) {
  if (name == "none") return Codec::kNone;
  if (name == "lz4") return Codec::kLz4;
  if (name == "zstd") return Codec::kZstd;
  return MakeError(ErrorCode::kUnsupportedCompressionType, "compression '",
                   name, "' is unknown; use none, lz4 or zstd");
}

absl::StatusOr<int32_t> AcksFromName(const std::string& name) {
  if (name == "all" || name == "-1") return -1;
  if (name == "0") return 0;
  if (name == "1") return 1;
  return MakeError(ErrorCode::kInvalidRequiredAcks, "acks '", name,
                   "' is unknown; use all, 1 or 0");
}

}  // namespace sluice::cli
