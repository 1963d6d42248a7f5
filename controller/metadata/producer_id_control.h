// Producer ids for brokers to give out, in blocks.
#pragma once

#include "common/base/ids.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

inline constexpr int32_t kProducerIdBlockSize = 1000;

// Where the ids of the cluster with this salt begin: in [0, 2^62), so that
// 2^62 are left, and apart from other clusters' for logs that are mirrored.
ProducerId FirstProducerIdOf(const Uuid& salt);

// Made for one request; decides against `image`. An id is in one block only,
// for ever: blocks follow each other in the committed log (IP5).
class ProducerIdControl {
 public:
  ProducerIdControl(const MetadataImage& image, const Uuid& salt,
                    int32_t block_size = kProducerIdBlockSize)
      : image_(image), salt_(salt), block_size_(block_size) {}

  // STALE_BROKER_EPOCH. Each call that commits gives another block.
  ControlResultOr<internal::v1::AllocateProducerIdsResponse> Allocate(
      const internal::v1::AllocateProducerIdsRequest& request) const;

 private:
  const MetadataImage& image_;
  const Uuid salt_;
  const int32_t block_size_;
};

}  // namespace sluice
