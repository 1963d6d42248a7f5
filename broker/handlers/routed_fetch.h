// A Fetch of partitions some of which other brokers lead.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "broker/broker_api.h"
#include "broker/handlers/fetch_handler.h"
#include "broker/handlers/handler_deps.h"
#include "broker/handlers/leader_calls.h"
#include "common/api/log_api.h"
#include "common/env/budget.h"

namespace sluice {

// Belongs to the worker. The request falls into parts: what this broker leads,
// and what each other leader does. One part is simply answered by whoever it
// is for. Of several, all are asked at once for what is there; while none has
// anything they are asked again, to wait, and the first that comes back with
// something (records, an error, another replica) ends the waiting for all: the
// others are answered with what they said first.
//
// What comes from another broker takes memory here: at most kPartBytesMax (and
// a batch) a leader, taken from the broker's budget for fetches beforehand.
// BUSY when there is none.
class RoutedFetch : public std::enable_shared_from_this<RoutedFetch> {
 public:
  static constexpr int32_t kPartBytesMax = 1 << 20;
  // How long after its wait another broker must have answered.
  static constexpr int64_t kGraceUs = 5'000'000;

  // Any thread.
  static std::shared_ptr<RoutedFetch> Start(
      FetchHandler handler, const HandlerDeps& deps,
      std::shared_ptr<Budget> memory, const api::CallContext& context,
      api::FetchRequest request, api::Answer<api::FetchResponse> done);

  // Any thread: answers with what is there.
  void Cancel();

 private:
  struct Part {
    std::optional<LeaderCalls::Leader> leader;  // nullopt: this broker
    std::vector<size_t> places;                 // in the request
    api::FetchRequest request;
    CancelCall cancel;
  };

  RoutedFetch(FetchHandler handler, const HandlerDeps& deps,
              std::shared_ptr<Budget> memory, const api::CallContext& context,
              api::FetchRequest request, api::Answer<api::FetchResponse> done);

  void Begin();
  // INVALID_REQUEST: a partition is named twice.
  absl::Status Split(const MetadataImage& image);
  Part& PartOf(const std::optional<LeaderCalls::Leader>& leader);
  // Asks every part; `wait` for the rest of the time.
  void AskAll(bool wait);
  void Ask(size_t part);
  void OnAnswer(size_t part, int round, absl::Status status,
                api::FetchResponse response);
  void Put(const Part& part, const absl::Status& status,
           api::FetchResponse& response);
  void Finish(absl::Status status);

  FetchHandler handler_;
  const HandlerDeps deps_;
  const api::CallContext context_;
  const int64_t deadline_us_;  // until then it may wait
  api::FetchRequest request_;
  api::Answer<api::FetchResponse> done_;
  Budget::Share memory_;

  // On the worker.
  std::vector<Part> parts_;
  api::FetchResponse response_;
  std::vector<std::shared_ptr<const void>> held_;
  int round_ = 0;       // 1: what is there; 2: waiting
  size_t missing_ = 0;  // answers of this round
  bool something_ = false;
  bool finished_ = false;
};

}  // namespace sluice
