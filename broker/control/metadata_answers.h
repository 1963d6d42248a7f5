// Answers to metadata questions as pure functions of an image.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "sluice/v1/cluster.pb.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

inline constexpr int32_t kPageSizeDefault = 1000;
inline constexpr int32_t kPageSizeMax = 10000;
// A page ends early at so many partitions; of topics named one by one, those
// beyond it are answered REQUEST_TOO_LARGE.
inline constexpr size_t kPartitionsPerAnswerMax = 20000;

// Whole-request errors: INVALID_REQUEST (page size or token, more than
// kTopicsPerCallMax topics). Errors of single topics are in the answer, which
// echoes a name or an id as it was asked.

// `listener`: whose endpoints are told; fenced brokers are left out (MD4).
absl::StatusOr<v1::GetMetadataResponse> AnswerGetMetadata(
    const MetadataImage& image, const std::string& listener,
    const v1::GetMetadataRequest& request);

// ---- What a watch is told (metadata_watch.h) ----

// nullopt: clients of that listener cannot reach it (MD4), or there is none.
std::optional<v1::Broker> ReachableBroker(const MetadataImage& image,
                                          const std::string& listener,
                                          NodeId id);
// Name, id, kind; no partitions.
v1::TopicMetadata TopicHead(const TopicImage& topic);
void DescribePartition(const MetadataImage& image, const std::string& listener,
                       PartitionIndex index, const PartitionImage& partition,
                       v1::PartitionMetadata* out);

absl::StatusOr<v1::ListTopicsResponse> AnswerListTopics(
    const MetadataImage& image, const v1::ListTopicsRequest& request);

// Without `logs`.
absl::StatusOr<v1::DescribeTopicsResponse> AnswerDescribeTopics(
    const MetadataImage& image, const ConfigRegistry& configs,
    const std::string& listener, const v1::DescribeTopicsRequest& request);

// Brokers with their counts, health, totals; the caller adds who answers and
// what it knows of controllers.
v1::DescribeClusterResponse AnswerDescribeCluster(
    const MetadataImage& image, const ConfigRegistry& configs);

// Null: no such topic (error set), or neither name nor id.
const TopicImage* FindTopicRef(const MetadataImage& image,
                               const v1::TopicRef& ref, v1::Error* error);

}  // namespace sluice
