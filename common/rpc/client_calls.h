// The unary calls that one peer has under way.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/env/executor.h"
#include "common/rpc/status_wire.h"

namespace sluice::rpc {

// The name of the caller in a call's metadata, where the request has no field
// for it.
inline constexpr char kClientIdKey[] = "sluice-client-id";

// Each call's reply is posted to the executor exactly once. Destroying this
// cancels what is under way and posts kUnavailable for it; nothing is posted
// afterwards, so the executor may end. Any thread.
class ClientCalls {
 public:
  // `client_id` may be empty.
  ClientCalls(Executor* executor, std::string client_id);
  ~ClientCalls();
  ClientCalls(const ClientCalls&) = delete;
  ClientCalls& operator=(const ClientCalls&) = delete;

  using Done = std::function<void(grpc::Status)>;

  // `start` hands the call to a stub and returns; `decode` runs on a thread of
  // gRPC's. `timeout_us` above a day is a day. `client_id`: for whom.
  template <class Response, class Result>
  void StartFor(const std::string& client_id, int64_t timeout_us,
                absl::FunctionRef<void(grpc::ClientContext* context,
                                       Response* response, Done done)>
                    start,
                absl::StatusOr<Result> (*decode)(Response),
                absl::AnyInvocable<void(absl::StatusOr<Result>)> reply) {
    auto call = std::make_shared<Call<Response, Result>>();
    call->reply = std::move(reply);
    call->decode = decode;
    Prepare(client_id, timeout_us, &call->context);
    {
      std::lock_guard lock(table_->mutex);
      table_->under_way.insert(call.get());
    }
    start(&call->context, &call->response,
          [call, table = table_](const grpc::Status& status) {
            absl::StatusOr<Result> result =
                status.ok() ? call->decode(std::move(call->response))
                            : FromGrpcStatus(status);
            table->Finish(call.get(), [&] {
              return [call, result = std::move(result)]() mutable {
                call->reply(std::move(result));
              };
            });
          });
  }

  template <class Response, class Result>
  void Start(int64_t timeout_us,
             absl::FunctionRef<void(grpc::ClientContext* context,
                                    Response* response, Done done)>
                 start,
             absl::StatusOr<Result> (*decode)(Response),
             absl::AnyInvocable<void(absl::StatusOr<Result>)> reply) {
    StartFor<Response, Result>(client_id_, timeout_us, start, decode,
                               std::move(reply));
  }

  // The response as it is.
  template <class Message>
  void Start(int64_t timeout_us,
             absl::FunctionRef<void(grpc::ClientContext* context,
                                    Message* response, Done done)>
                 start,
             absl::AnyInvocable<void(absl::StatusOr<Message>)> reply) {
    Start<Message, Message>(
        timeout_us, start,
        +[](Message message) { return absl::StatusOr<Message>(
                                   std::move(message)); },
        std::move(reply));
  }

 private:
  struct CallBase {
    virtual ~CallBase() = default;
    // A task that answers with `why`.
    virtual Task Failure(absl::Status why) = 0;
    grpc::ClientContext context;
  };
  template <class Response, class Result>
  struct Call final : CallBase,
                      std::enable_shared_from_this<Call<Response, Result>> {
    Task Failure(absl::Status why) override {
      return [self = this->shared_from_this(), why = std::move(why)] {
        self->reply(why);
      };
    }
    Response response;
    absl::StatusOr<Result> (*decode)(Response) = nullptr;
    absl::AnyInvocable<void(absl::StatusOr<Result>)> reply;
  };

  struct Table {
    template <class MakeTask>
    void Finish(CallBase* call, MakeTask make_task) {
      std::lock_guard lock(mutex);
      // Answered already when the peer went away.
      if (under_way.erase(call) == 0) return;
      executor->Post(make_task());
    }

    std::mutex mutex;
    Executor* executor = nullptr;
    std::unordered_set<CallBase*> under_way;  // guarded by mutex
  };

  static void Prepare(const std::string& client_id, int64_t timeout_us,
                      grpc::ClientContext* context);

  const std::shared_ptr<Table> table_;
  const std::string client_id_;
};

}  // namespace sluice::rpc
