#include "broker/handlers/produce_call.h"

#include <algorithm>

namespace sluice {
namespace {

// A record is named by its place in the request.
void PlaceRecordErrors(api::ProduceResult& result) {
  for (api::RecordError& error : result.record_errors) {
    const auto place = static_cast<size_t>(error.record_index);
    if (place < result.record_indexes.size()) {
      error.record_index = result.record_indexes[place];
    }
  }
}

}  // namespace

ProduceCall::ProduceCall(const HandlerDeps& deps, Options options,
                         std::shared_ptr<ProduceListener> listener)
    : deps_(deps),
      options_(std::move(options)),
      listener_(std::move(listener)) {}

void ProduceCall::AddResult(api::ProduceResult result) {
  refused_.push_back(results_.size());
  ++unanswered_;
  results_.push_back(std::move(result));
}

void ProduceCall::AddAppend(api::ProduceResult result, Append append) {
  if (options_.forwarder != nullptr) {
    const auto leader = deps_.leaders->Elsewhere(*options_.image, append.tp);
    if (leader.has_value()) {
      return AddHandover(*leader, std::move(result), std::move(append));
    }
  }
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

void ProduceCall::AddHandover(const LeaderCalls::Leader& leader,
                              api::ProduceResult result, Append append) {
  auto found = std::find_if(
      handovers_.begin(), handovers_.end(),
      [&](const Handover& h) { return h.produce.leader == leader; });
  if (found == handovers_.end()) {
    found = handovers_.emplace(handovers_.end());
    found->produce.leader = leader;
    found->produce.deadline_us = options_.deadline_us;
    found->produce.request.acks = static_cast<int32_t>(options_.acks);
    if (handovers_.size() == 1) ++unordered_;  // all of them: HandOver
  }
  api::ProducePartition& part =
      found->produce.request.partitions.emplace_back();
  part.topic.id = append.tp.topic_id;
  part.partition = append.tp.partition;
  part.payload = std::move(append.batches);
  part.leader_epoch = append.leader_epoch;
  found->results.push_back(results_.size());
  ++unanswered_;
  results_.push_back(std::move(result));
}

void ProduceCall::Launch() {
  const auto self = shared_from_this();
  options_.image.reset();
  Executor* const first =
      groups_.empty() ? deps_.worker : groups_.front().first->executor();
  home_ = options_.home != nullptr ? options_.home : first;
  auto groups = std::exchange(groups_, {});
  // Before any outcome can come home.
  const bool at_home = home_->IsCurrent();
  const bool with_first = !at_home && home_ == first && !groups.empty();
  if (at_home) {
    Begin();
  } else if (!with_first) {
    home_->Post([self] { self->Begin(); });
  }
  bool begin = with_first;
  for (auto& [host, pieces] : groups) {
    host->executor()->Post([self, host = host, pieces = std::move(pieces),
                            begin = std::exchange(begin, false)]() mutable {
      if (begin) self->Begin();
      for (Piece& piece : pieces) self->AppendPiece(host, std::move(piece));
    });
  }
  if (!handovers_.empty()) HandOver();
}

// Behind Begin, which is on its way home or was there: so are the answers. The
// order is fixed once the worker has it, whose tasks run in order.
void ProduceCall::HandOver() {
  const auto self = shared_from_this();
  for (Handover& handover : handovers_) {
    handover.produce.on_result = [self, results = std::move(handover.results)](
                                     size_t part, api::ProduceResult answer) {
      self->home_->Post([self, index = results[part],
                         answer = std::move(answer)]() mutable {
        self->OnHandedOver(index, std::move(answer));
      });
    };
  }
  deps_.worker->Post([forwarder = std::move(options_.forwarder),
                      handovers = std::exchange(handovers_, {})]() mutable {
    for (Handover& handover : handovers) {
      forwarder->Forward(std::move(handover.produce));
    }
  });
  if (home_->IsCurrent()) {
    OnOrdered();
  } else {
    home_->Post([self] { self->OnOrdered(); });
  }
}

// What this call knows of the result stays, the rest is the leader's word.
void ProduceCall::OnHandedOver(size_t index, api::ProduceResult answer) {
  api::ProduceResult& result = results_[index];
  answer.topic = std::move(result.topic);
  answer.partition = result.partition;
  answer.record_indexes = std::move(result.record_indexes);
  result = std::move(answer);
  PlaceRecordErrors(result);
  Answer(index);
}

void ProduceCall::Begin() {
  listener_->OnParts(results_);
  if (unordered_ == 0) listener_->OnOrdered();
  for (const size_t index : refused_) Answer(index);
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
  if (--unordered_ == 0) listener_->OnOrdered();
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
  result.duplicate = outcome.duplicate;
  result.record_errors = std::move(outcome.record_errors);
  PlaceRecordErrors(result);
  Answer(index);
}

void ProduceCall::Answer(size_t index) {
  if (--unanswered_ == 0) options_.share = Budget::Share();
  listener_->OnResult(index, std::move(results_[index]));
}

}  // namespace sluice
