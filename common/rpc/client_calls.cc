#include "common/rpc/client_calls.h"

#include <algorithm>
#include <chrono>

namespace sluice::rpc {
namespace {

constexpr int64_t kTimeoutMaxUs = int64_t{24} * 3600 * 1'000'000;

}  // namespace

ClientCalls::ClientCalls(Executor* executor, std::string client_id)
    : table_(std::make_shared<Table>()), client_id_(std::move(client_id)) {
  table_->executor = executor;
}

ClientCalls::~ClientCalls() {
  std::lock_guard lock(table_->mutex);
  for (CallBase* call : table_->under_way) {
    // It cannot be gone: its callback waits for the mutex at the latest.
    table_->executor->Post(call->Failure(absl::UnavailableError(
        "connection: closed by this side while the call was under way")));
    call->context.TryCancel();
  }
  table_->under_way.clear();
}

void ClientCalls::Prepare(const std::string& client_id, int64_t timeout_us,
                          grpc::ClientContext* context) {
  context->set_deadline(
      std::chrono::system_clock::now() +
      std::chrono::microseconds(std::clamp<int64_t>(timeout_us, 0,
                                                    kTimeoutMaxUs)));
  if (!client_id.empty()) context->AddMetadata(kClientIdKey, client_id);
}

}  // namespace sluice::rpc
