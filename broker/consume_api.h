// GroupService.Consume of a broker, as its gRPC edge and the simulator call it.
#pragma once

#include <memory>
#include <vector>

#include "broker/broker_api.h"
#include "common/api/log_api.h"
#include "common/base/buffer.h"
#include "sluice/v1/group.pb.h"

namespace sluice {

// A message to the client. Records lie beside it, as they come from the log.
struct ConsumePush {
  v1::ConsumeResponse message;
  // With message.records(): its payload, in one of both forms.
  std::vector<Buffer> batches;
  std::vector<api::Record> records;
};

using ConsumeSink = StreamSink<ConsumePush>;
using ConsumeSession = StreamSession<v1::ConsumeRequest>;

class ConsumeApi {
 public:
  virtual ~ConsumeApi() = default;
  // Any thread; never blocks. The session begins at once: a client that says
  // nothing has a time limit, too. It half-closes by OnNoMore(OK).
  virtual std::shared_ptr<ConsumeSession> Consume(
      const api::CallContext& context, std::shared_ptr<ConsumeSink> sink) = 0;
};

}  // namespace sluice
