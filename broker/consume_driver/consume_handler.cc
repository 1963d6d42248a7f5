#include "broker/consume_driver/consume_handler.h"

#include <optional>

#include "broker/consume_driver/consume_stream.h"
#include "broker/handlers/refused_session.h"
#include "common/base/error.h"

namespace sluice {

// ---- ConsumeStreams ----

uint64_t ConsumeStreams::Add(const std::shared_ptr<ConsumeStream>& stream) {
  all_.emplace(++last_number_, stream.get());
  return last_number_;
}

void ConsumeStreams::Remove(const ConsumeStream* stream) {
  all_.erase(stream->number());
  const auto found = by_member_.find(stream->membership());
  if (found == by_member_.end()) return;
  const auto named = found->second.lock();
  if (named == nullptr || named.get() == stream) by_member_.erase(found);
}

void ConsumeStreams::OnMember(const std::string& group,
                              const std::string& member_id,
                              const std::shared_ptr<ConsumeStream>& stream) {
  std::weak_ptr<ConsumeStream>& named = by_member_[{group, member_id}];
  const auto older = std::exchange(named, stream).lock();
  if (older != nullptr && older != stream) older->OnTakenOver();
}

void ConsumeStreams::StopAll() {
  stopping_ = true;
  // Who ends goes out of it.
  for (auto next = all_.begin(); next != all_.end();) {
    const auto [number, stream] = *next;
    stream->OnBrokerStops();
    next = all_.upper_bound(number);
  }
}

void ConsumeStreams::OnEnded(const absl::Status& why) {
  const bool gone = why.code() == absl::StatusCode::kCancelled;
  ++told_.ended[gone ? "CLIENT_GONE" : std::string(NameOf(CodeOf(why)))];
}

ConsumeFacts ConsumeStreams::Facts() const {
  ConsumeFacts facts = told_;
  facts.streams = static_cast<int64_t>(all_.size());
  for (const auto& [number, stream] : all_) {
    facts.revocations += stream->revoking();
    facts.unacknowledged_bytes += stream->unacknowledged_bytes();
  }
  return facts;
}

// ---- ConsumeHandler ----

ConsumeHandler::ConsumeHandler(ConsumeDeps deps)
    : deps_(std::move(deps)),
      all_(std::make_shared<ConsumeStreams>()),
      random_(std::make_shared<Random>(deps_.random_seed)),
      streams_(Budget::Of(kStreamsMax)) {}

std::shared_ptr<ConsumeSession> ConsumeHandler::Consume(
    const api::CallContext& context, std::shared_ptr<ConsumeSink> sink) {
  std::optional<Budget::Share> share = streams_->TryTake(1);
  if (!share.has_value()) {
    deps_.worker->Post([sink = std::move(sink), taken = streams_->taken(),
                        all = all_] {
      absl::Status why =
          MakeError(ErrorCode::kBusy, taken,
                    " consumers are connected to this broker, the limit; try "
                    "again later or at another broker");
      all->OnEnded(why);
      sink->Finish(std::move(why));
    });
    return std::make_shared<RefusedSession<v1::ConsumeRequest>>();
  }
  const auto stream = std::make_shared<ConsumeStream>(
      deps_, all_, random_, context, *std::move(share), std::move(sink));
  stream->Start();
  return stream;
}

void ConsumeHandler::BeginStop() {
  deps_.worker->Post([all = all_] { all->StopAll(); });
}

}  // namespace sluice
