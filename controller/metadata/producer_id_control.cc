#include "controller/metadata/producer_id_control.h"

#include <limits>

#include "common/base/invariant.h"
#include "common/base/status_macros.h"
#include "controller/metadata/broker_control.h"

namespace sluice {

ProducerId FirstProducerIdOf(const Uuid& salt) {
  const auto point = static_cast<int64_t>(salt.high() >> 2);
  return ProducerId(point - point % kProducerIdBlockSize);
}

ControlResultOr<internal::v1::AllocateProducerIdsResponse>
ProducerIdControl::Allocate(
    const internal::v1::AllocateProducerIdsRequest& request) const {
  RETURN_IF_ERROR(CheckBrokerEpoch(image_, NodeId(request.broker_id()),
                                   BrokerEpoch(request.broker_epoch())));
  const ProducerId known = image_.next_producer_id();
  const ProducerId first =
      known == kNoProducerId
          ? FirstProducerIdOf(salt_)
          : known;
  INVARIANT(first.value() <= std::numeric_limits<int64_t>::max() - block_size_,
            "all producer ids are given");
  ControlResult<internal::v1::AllocateProducerIdsResponse> result;
  auto* record = result.batch.add_records()->mutable_producer_ids();
  record->set_broker_id(request.broker_id());
  record->set_broker_epoch(request.broker_epoch());
  record->set_first_producer_id(first.value());
  record->set_next_producer_id(first.value() + block_size_);
  result.response.set_first_producer_id(first.value());
  result.response.set_count(block_size_);
  return result;
}

}  // namespace sluice
