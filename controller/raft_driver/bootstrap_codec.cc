#include "controller/raft_driver/bootstrap_codec.h"

#include "common/base/error.h"
#include "controller/raft/bootstrap_core.h"
#include "sluice/internal/v1/raft.pb.h"

namespace sluice {

std::string EncodeBootstrapRecord(const raft::BootstrapRecord& record) {
  internal::v1::BootstrapRecord proto;
  if (record.cluster_id.is_set()) {
    proto.set_cluster_id(record.cluster_id.ToBytes());
  }
  if (record.salt.is_set()) proto.set_salt(record.salt.ToBytes());
  for (const raft::BootstrapVoter& voter : record.voters) {
    auto* out = proto.add_voters();
    out->set_id(voter.id.value());
    if (voter.directory.is_set()) {
      out->set_directory_id(voter.directory.ToBytes());
    }
    out->set_endpoint(voter.endpoint);
  }
  return proto.SerializeAsString();
}

absl::StatusOr<raft::BootstrapRecord> DecodeBootstrapRecord(
    std::string_view bytes) {
  const auto invalid = [] {
    return MakeError(ErrorCode::kInvalidRequest,
                     "these bytes are no bootstrap record");
  };
  internal::v1::BootstrapRecord proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return invalid();
  }
  if (proto.voters_size() >
      static_cast<int>(raft::BootstrapConfig::kVotersMax)) {
    return invalid();
  }
  const auto cluster_id = ClusterId::FromBytes(proto.cluster_id());
  const auto salt = Uuid::FromBytes(proto.salt());
  if (!cluster_id.has_value() || !salt.has_value()) return invalid();
  raft::BootstrapRecord record{*cluster_id, *salt, {}};
  for (const auto& voter : proto.voters()) {
    const auto directory = DirectoryId::FromBytes(voter.directory_id());
    if (!directory.has_value() || voter.id() <= 0) return invalid();
    record.voters.push_back(
        {NodeId(voter.id()), *directory, voter.endpoint()});
  }
  return record;
}

}  // namespace sluice
