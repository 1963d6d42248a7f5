#include "broker/control/metadata_watches.h"

#include <optional>
#include <utility>

#include "broker/present_metadata.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/image.h"

namespace sluice {

// The edge's handle on one watch. Its watch lives as long as its stream: from
// here to the sink and back, until either end closes.
class MetadataWatches::Session final
    : public WatchSession,
      public std::enable_shared_from_this<Session> {
 public:
  Session(Executor* executor, Budget::Share share)
      : executor_(executor), share_(std::move(share)) {}

  void OnDrained() override {
    executor_->Post([self = shared_from_this()] {
      if (self->watch_ != nullptr) self->watch_->OnDrained();
    });
  }
  void OnClosed() override {
    executor_->Post([self = shared_from_this()] {
      if (self->watch_ != nullptr) self->watch_->End(absl::OkStatus());
      self->watch_.reset();
      self->share_ = Budget::Share();
    });
  }

  // On the executor.
  std::shared_ptr<MetadataWatch> watch_;

 private:
  Executor* const executor_;
  Budget::Share share_;
};

MetadataWatches::MetadataWatches(Deps deps, int64_t watches_max)
    : deps_(std::move(deps)), watches_(Budget::Of(watches_max)) {}

MetadataWatches::~MetadataWatches() = default;

std::shared_ptr<WatchSession> MetadataWatches::Watch(
    const api::CallContext& context, v1::WatchMetadataRequest request,
    std::shared_ptr<WatchSink> sink) {
  auto share = watches_->TryTake(1);
  if (!share.has_value()) {
    deps_.executor->Post([sink = std::move(sink), taken = watches_->taken()] {
      sink->Finish(MakeError(ErrorCode::kBusy, taken,
                             " watches are open on this broker, the limit; "
                             "watch at another"));
    });
    return std::make_shared<Session>(deps_.executor, Budget::Share());
  }
  auto session =
      std::make_shared<Session>(deps_.executor, *std::move(share));
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_), session,
                        context, request = std::move(request),
                        sink = std::move(sink)]() mutable {
    if (alive.expired() || stopped_) {
      sink->Finish(MakeError(ErrorCode::kShuttingDown,
                             "the broker is stopping; watch at another"));
      return;
    }
    Open(session, context, request, std::move(sink));
  });
  return session;
}

absl::Status MetadataWatches::Check(
    const v1::WatchMetadataRequest& request) const {
  if (request.topics_size() > kNamesMax) {
    return MakeError(ErrorCode::kInvalidRequest, request.topics_size(),
                     " topics in one watch; at most ", kNamesMax,
                     ", or none for all");
  }
  return CheckMetadataIsPresent(*deps_.image());
}

void MetadataWatches::Open(const std::shared_ptr<Session>& session,
                           const api::CallContext& context,
                           const v1::WatchMetadataRequest& request,
                           std::shared_ptr<WatchSink> sink) {
  if (absl::Status status = Check(request); !status.ok()) {
    sink->Finish(std::move(status));
    return;
  }
  MetadataWatch::Deps watch;
  watch.executor = deps_.executor;
  watch.active_controller = deps_.active_controller;
  watch.listener =
      context.listener.empty() ? kPublicListener : context.listener;
  watch.names = {request.topics().begin(), request.topics().end()};
  watch.include_internal = request.include_internal();
  watch.sink = std::move(sink);
  watch.limits = deps_.limits;
  session->watch_ =
      std::make_shared<MetadataWatch>(std::move(watch), deps_.image());
  sessions_.push_back(session);
  session->watch_->Start();
}

void MetadataWatches::OnImage(std::shared_ptr<const MetadataImage> image,
                              const MetadataChanges& changes) {
  std::erase_if(sessions_, [](const std::weak_ptr<Session>& weak) {
    const auto session = weak.lock();
    return session == nullptr || session->watch_ == nullptr ||
           session->watch_->over();
  });
  for (const auto& weak : sessions_) {
    const auto session = weak.lock();
    if (session != nullptr) session->watch_->OnImage(image, changes);
  }
}

void MetadataWatches::Stop() {
  stopped_ = true;
  for (const auto& weak : std::exchange(sessions_, {})) {
    const auto session = weak.lock();
    if (session == nullptr || session->watch_ == nullptr) continue;
    session->watch_->End(MakeError(ErrorCode::kShuttingDown,
                                   "the broker is stopping; watch at "
                                   "another"));
  }
}

}  // namespace sluice
