#include "broker/handlers/produce_call.h"

#include <algorithm>

namespace sluice {

ProduceCall::ProduceCall(const HandlerDeps& deps, Options options,
                         absl::AnyInvocable<void()> order_fixed,
                         api::Answer<api::ProduceResponse> done)
    : deps_(deps),
      options_(std::move(options)),
      order_fixed_(std::move(order_fixed)),
      done_(std::move(done)) {}

void ProduceCall::AddAppend(api::ProduceResult result, Append append) {
  PartitionHost* host = deps_.hosts->HostOf(append.tp);
  auto group = std::find_if(groups_.begin(), groups_.end(),
                            [&](const auto& g) { return g.first == host; });
  if (group == groups_.end()) {
    groups_.push_back({host, {}});
    group = groups_.end() - 1;
  }
  Piece& piece = group->second.emplace_back();
  piece.result = results_.size();
  piece.request.tp = append.tp;
  piece.request.batches = std::move(append.batches);
  piece.request.acks = options_.acks;
  piece.request.deadline_us = options_.deadline_us;
  piece.request.leader_epoch = append.leader_epoch;
  piece.request.origin = options_.origin;
  ++unordered_;
  ++unanswered_;
  results_.push_back(std::move(result));
}

void ProduceCall::Launch() {
  const auto self = shared_from_this();
  if (groups_.empty()) {
    deps_.worker->Post([self] {
      if (self->order_fixed_) self->order_fixed_();
      self->Finish();
    });
    return;
  }
  home_ = groups_.front().first->executor();
  for (auto& [host, pieces] : std::exchange(groups_, {})) {
    host->executor()->Post(
        [self, host = host, pieces = std::move(pieces)]() mutable {
          for (Piece& piece : pieces) self->AppendPiece(host, std::move(piece));
        });
  }
}

void ProduceCall::AppendPiece(PartitionHost* host, Piece piece) {
  const auto self = shared_from_this();
  host->Append(
      std::move(piece.request),
      [self, host] { self->AtHome(host, [self] { self->OnOrdered(); }); },
      [self, host, result = piece.result](AppendOutcome outcome) {
        self->AtHome(host,
                     [self, result, outcome = std::move(outcome)]() mutable {
                       self->OnOutcome(result, std::move(outcome));
                     });
      });
}

void ProduceCall::AtHome(PartitionHost* host, Task step) {
  if (host->executor() == home_) {
    step();
  } else {
    home_->Post(std::move(step));
  }
}

void ProduceCall::OnOrdered() {
  if (--unordered_ == 0 && order_fixed_) order_fixed_();
}

void ProduceCall::OnOutcome(size_t index, AppendOutcome outcome) {
  api::ProduceResult& result = results_[index];
  result.error = std::move(outcome.error);
  result.base_offset = outcome.base_offset;
  result.record_count = outcome.record_count;
  result.log_start_offset = outcome.log_start_offset;
  result.leader = std::move(outcome.leader);
  result.durability = std::move(outcome.durability);
  result.below_min_isr = outcome.below_min_isr;
  result.record_errors = std::move(outcome.record_errors);
  // A record is named by its place in the request.
  for (api::RecordError& error : result.record_errors) {
    const auto place = static_cast<size_t>(error.record_index);
    if (place < result.record_indexes.size()) {
      error.record_index = result.record_indexes[place];
    }
  }
  if (--unanswered_ == 0) Finish();
}

void ProduceCall::Finish() {
  api::ProduceResponse response;
  response.results = std::move(results_);
  options_.share = Budget::Share();
  done_(absl::OkStatus(), std::move(response));
}

}  // namespace sluice
