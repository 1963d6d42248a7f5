// GroupService.Consume: streams on which the broker is a consumer for a client.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "broker/consume_api.h"
#include "broker/consume_driver/consume_facts.h"
#include "broker/group_api.h"
#include "common/base/random.h"
#include "common/env/budget.h"
#include "common/env/clock.h"
#include "common/env/executor.h"
#include "common/env/published.h"
#include "controller/metadata/image.h"

namespace sluice {

class ConsumeStream;

// What a stream works with. Everything goes by the broker's own API, as if a
// client called: so a stream is the same wherever leaders and coordinators are.
struct ConsumeDeps {
  NodeId self;
  const Clock* clock = nullptr;
  Executor* worker = nullptr;
  const Published<MetadataImage>* image = nullptr;
  GroupApi* groups = nullptr;
  std::function<std::shared_ptr<SubscribeSession>(
      const api::CallContext&, std::shared_ptr<SubscribeSink>)>
      subscribe;
  std::function<void(const api::CallContext&, const api::ListOffsetsRequest&,
                     api::Answer<api::ListOffsetsResponse>)>
      list_offsets;
  std::function<void(const api::CallContext&,
                     const api::OffsetForLeaderEpochRequest&,
                     api::Answer<api::OffsetForLeaderEpochResponse>)>
      epoch_ends;
  // 16 bytes that nobody can guess.
  std::function<std::string()> new_secret;
  uint64_t random_seed = 0;  // of retries
};

// The streams of this broker; belongs to the worker.
class ConsumeStreams {
 public:
  // Under which number: they are dealt with in the order in which they came.
  uint64_t Add(const std::shared_ptr<ConsumeStream>& stream);
  void Remove(const ConsumeStream* stream);
  // It has the membership now: an older stream of it here is closed.
  void OnMember(const std::string& group, const std::string& member_id,
                const std::shared_ptr<ConsumeStream>& stream);
  void StopAll();
  bool stopping() const { return stopping_; }

  // ---- For metrics ----
  void OnTookOver() { ++told_.takeovers; }
  void OnPushed(int64_t records) { told_.pushed_records += records; }
  void OnEnded(const absl::Status& why);
  ConsumeFacts Facts() const;

 private:
  std::map<uint64_t, ConsumeStream*> all_;
  uint64_t last_number_ = 0;
  std::map<std::pair<std::string, std::string>, std::weak_ptr<ConsumeStream>>
      by_member_;
  bool stopping_ = false;
  ConsumeFacts told_;  // its counters
};

class ConsumeHandler final : public ConsumeApi {
 public:
  static constexpr int64_t kStreamsMax = 20'000;  // of the whole broker

  explicit ConsumeHandler(ConsumeDeps deps);

  // A stream beyond kStreamsMax is finished with BUSY.
  std::shared_ptr<ConsumeSession> Consume(
      const api::CallContext& context,
      std::shared_ptr<ConsumeSink> sink) override;

  // Any thread: the broker is about to stop. Nothing is pushed any more; what
  // was pushed may be acknowledged, then the clients are sent elsewhere.
  void BeginStop();
  // On the worker.
  ConsumeFacts facts() const { return all_->Facts(); }

 private:
  const ConsumeDeps deps_;
  const std::shared_ptr<ConsumeStreams> all_;  // on the worker
  const std::shared_ptr<Random> random_;       // on the worker
  const std::shared_ptr<Budget> streams_;
};

}  // namespace sluice
