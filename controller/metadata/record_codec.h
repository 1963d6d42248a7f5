// Between protobuf records and the image's types.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/metadata.pb.h"

namespace sluice {

template <class Ids>
std::vector<NodeId> NodesOf(const Ids& ids) {
  std::vector<NodeId> nodes;
  nodes.reserve(ids.size());
  for (const int32_t id : ids) nodes.push_back(NodeId(id));
  return nodes;
}

// nullopt when one of them has neither 0 nor 16 bytes.
template <class Ids>
std::optional<std::vector<DirectoryId>> DirectoriesOf(const Ids& ids) {
  std::vector<DirectoryId> directories;
  directories.reserve(ids.size());
  for (const std::string& bytes : ids) {
    const auto id = DirectoryId::FromBytes(bytes);
    if (!id.has_value()) return std::nullopt;
    directories.push_back(*id);
  }
  return directories;
}

// "" for the unset uuid.
inline std::string BytesOf(const Uuid& id) {
  return id.is_set() ? id.ToBytes() : std::string();
}

template <class Repeated>
void SetNodes(const std::vector<NodeId>& nodes, Repeated* out) {
  out->Clear();
  for (const NodeId node : nodes) out->Add(node.value());
}

// nullopt when an offset or epoch makes no sense.
std::optional<CandidateLog> FromMessage(const v1::CandidateLog& log);
v1::CandidateLog ToMessage(const CandidateLog& log);
UncleanLoss LossOf(const v1::UncleanLoss& loss);
v1::UncleanLoss ToMessage(const UncleanLoss& loss);

internal::v1::PartitionRecord ToRecord(const TopicPartition& tp,
                                       const PartitionImage& partition);

// "[1,2,3]", for messages.
std::string NodesText(const std::vector<NodeId>& nodes);

}  // namespace sluice
