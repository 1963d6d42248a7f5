// GroupService.Consume's answers: record bytes leave without a copy.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <vector>

#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "sluice/v1/group.pb.h"

namespace sluice::rpc {

// `records`, else `batches`, are the payload of message.records().
grpc::ByteBuffer EncodeConsumeResponse(v1::ConsumeResponse message,
                                       std::vector<Buffer> batches,
                                       std::vector<api::Record> records);

}  // namespace sluice::rpc
