// What is behind GroupService, for a test to script.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "broker/consume_api.h"
#include "broker/group_api.h"

namespace sluice {

// Calls that are not scripted fail the test. Methods run on threads of gRPC's.
class FakeGroups final : public GroupApi {
 public:
#define SLUICE_GROUP_CALL(Name)                                            \
  std::function<void(const api::CallContext&, v1::Name##Request,           \
                     PeerReply<v1::Name##Response>)>                       \
      on_##Name;                                                           \
  void Name(const api::CallContext& context, v1::Name##Request request,    \
            PeerReply<v1::Name##Response> reply) override {                \
    on_##Name(context, std::move(request), std::move(reply));              \
  }
  SLUICE_GROUP_CALLS(SLUICE_GROUP_CALL)
#undef SLUICE_GROUP_CALL
};

class FakeConsumers final : public ConsumeApi {
 public:
  std::function<std::shared_ptr<ConsumeSession>(const api::CallContext&,
                                                std::shared_ptr<ConsumeSink>)>
      on_consume;
  std::shared_ptr<ConsumeSession> Consume(
      const api::CallContext& context,
      std::shared_ptr<ConsumeSink> sink) override {
    return on_consume(context, std::move(sink));
  }
};

}  // namespace sluice
