// What a broker tells the controllers of its logs: verdicts of the recovery,
// failures, candidates of an election.
#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "broker/control/broker_lifecycle.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "controller/metadata/control_result.h"

namespace sluice {
namespace {

using internal::v1::ReplicaVerdict;
using internal::v1::ReportReplicasRequest;
using internal::v1::ReportReplicasResponse;

constexpr int64_t kReportRetryUs = 1000000;

std::optional<TopicPartition> PartitionOf(const std::string& topic_id,
                                          int32_t partition) {
  const auto id = TopicId::FromBytes(topic_id);
  if (!id.has_value()) return std::nullopt;
  return TopicPartition{*id, PartitionIndex(partition)};
}

}  // namespace

void BrokerLifecycle::OnVerdicts(std::vector<ReplicaVerdict> verdicts) {
  if (fatal_) return;
  for (ReplicaVerdict& verdict : verdicts) {
    const auto tp = PartitionOf(verdict.topic_id(), verdict.partition());
    INVARIANT(tp.has_value(), "a verdict on a topic id of ",
              verdict.topic_id().size(), " bytes");
    // What failed in use meanwhile says more.
    const auto [place, is_new] = verdicts_.emplace(*tp, std::move(verdict));
    if (is_new && place->second.failed()) to_report_.push_back(place->second);
  }
  QueueWanted();
  MaybeReport();
}

void BrokerLifecycle::OnRecovered() {
  if (fatal_) return;
  recovered_ = true;
  const auto bad = std::count_if(
      verdicts_.begin(), verdicts_.end(), [](const auto& verdict) {
        return verdict.second.lossy() || verdict.second.failed();
      });
  LOG(INFO) << "broker " << deps_.identity.node_id << " has recovered "
            << verdicts_.size() << " logs, " << bad << " of them damaged";
  QueueWanted();
  MaybeReport();
}

void BrokerLifecycle::NoteWanted(
    const internal::v1::RegisterBrokerResponse& reply) {
  wanted_.clear();
  wanted_queued_ = wanted_reported_ = false;
  to_report_.clear();
  reported_count_ = 0;
  std::vector<TopicPartition> first;
  for (const auto& key : reply.wanted()) {
    const auto tp = PartitionOf(key.topic_id(), key.partition());
    if (!tp.has_value()) continue;
    wanted_.push_back(*tp);
    if (!verdicts_.contains(*tp)) first.push_back(*tp);
  }
  // A list that is full may not be whole.
  wants_all_ = wanted_.size() >= kPartitionsPerCallMax;
  for (const auto& [tp, verdict] : verdicts_) {
    if (verdict.failed()) to_report_.push_back(verdict);
  }
  if (!first.empty()) replicas_->RecoverFirst(std::move(first));
  QueueWanted();
}

void BrokerLifecycle::ReportFailed(ReplicaVerdict verdict) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_),
                        verdict = std::move(verdict)]() mutable {
    if (!alive.expired()) OnFailed(std::move(verdict));
  });
}

void BrokerLifecycle::OnFailed(ReplicaVerdict verdict) {
  const auto tp = PartitionOf(verdict.topic_id(), verdict.partition());
  INVARIANT(tp.has_value(), "a verdict on a topic id of ",
            verdict.topic_id().size(), " bytes");
  // A later registration tells it too.
  verdicts_[*tp] = verdict;
  to_report_.push_back(std::move(verdict));
  MaybeReport();
}

void BrokerLifecycle::TellLog(ReplicaVerdict verdict) {
  deps_.executor->Post([this, alive = std::weak_ptr<bool>(alive_),
                        verdict = std::move(verdict)]() mutable {
    if (alive.expired()) return;
    const auto tp = PartitionOf(verdict.topic_id(), verdict.partition());
    INVARIANT(tp.has_value(), "the log of a topic id of ",
              verdict.topic_id().size(), " bytes");
    candidates_[*tp] = std::move(verdict);
    MaybeReport();
  });
}

// Once each is known: the broker may be elected as soon as they are told.
void BrokerLifecycle::QueueWanted() {
  if (wanted_queued_ || epoch_ == kNoBrokerEpoch ||
      (wants_all_ && !recovered_)) {
    return;
  }
  for (const TopicPartition& tp : wanted_) {
    if (!verdicts_.contains(tp)) return;
  }
  wanted_queued_ = true;
  for (const TopicPartition& tp : wanted_) {
    to_report_.push_back(verdicts_.at(tp));
  }
  if (!wants_all_) return;
  const std::set<TopicPartition> wanted(wanted_.begin(), wanted_.end());
  for (const auto& [tp, verdict] : verdicts_) {
    if (!wanted.contains(tp)) to_report_.push_back(verdict);
  }
}

void BrokerLifecycle::MaybeReport() {
  if (fatal_ || reporting_ || !wanted_queued_ ||
      state_ >= State::kHandingOver) {
    return;
  }
  if (!wanted_reported_ || reported_count_ < to_report_.size()) {
    ReportNext();
  } else if (!candidates_.empty()) {
    ReportCandidates();
  }
}

void BrokerLifecycle::ReportNext() {
  if (reported_count_ == to_report_.size()) {
    wanted_reported_ = true;
    to_report_.clear();
    reported_count_ = 0;
    if (state_ == State::kRecovering) SetState(State::kUnfencing);
    session_.Beat();
    MaybeReport();
    return;
  }
  ReportReplicasRequest request;
  const size_t end =
      std::min(reported_count_ + kVerdictsPerCall, to_report_.size());
  // One verdict a partition and call: what failed since says it all.
  std::map<TopicPartition, int> places;
  for (size_t i = reported_count_; i < end; ++i) {
    const auto tp =
        PartitionOf(to_report_[i].topic_id(), to_report_[i].partition());
    const auto [place, is_new] = places.emplace(*tp, request.verdicts_size());
    if (is_new) {
      *request.add_verdicts() = to_report_[i];
    } else {
      *request.mutable_verdicts(place->second) = to_report_[i];
    }
  }
  Send(std::move(request), [this, end] { reported_count_ = end; });
}

void BrokerLifecycle::ReportCandidates() {
  ReportReplicasRequest request;
  while (!candidates_.empty() &&
         request.verdicts_size() < static_cast<int>(kVerdictsPerCall)) {
    *request.add_verdicts() = std::move(candidates_.begin()->second);
    candidates_.erase(candidates_.begin());
  }
  Send(std::move(request), [] {});
}

void BrokerLifecycle::Send(ReportReplicasRequest request,
                           absl::AnyInvocable<void()> sent) {
  request.set_broker_id(deps_.identity.node_id.value());
  request.set_broker_epoch(epoch_.value());
  reporting_ = true;
  deps_.directory->CallActive<ReportReplicasResponse>(
      ControllerDirectory::kNoDeadline, kAttemptUs,
      [request = std::move(request)](
          ControllerPeer* peer, int64_t timeout_us,
          PeerReply<ReportReplicasResponse> reply) {
        peer->ReportReplicas(request, timeout_us, std::move(reply));
      },
      [this, alive = std::weak_ptr<bool>(alive_), epoch = epoch_,
       sent = std::move(sent)](
          ControllerDirectory::Outcome<ReportReplicasResponse> outcome) mutable {
        if (alive.expired() || fatal_) return;
        reporting_ = false;
        if (epoch == epoch_ && outcome.response.ok()) sent();
        OnReported(epoch, outcome.response.status());
      });
}

void BrokerLifecycle::OnReported(BrokerEpoch epoch,
                                 const absl::Status& status) {
  if (status.ok() || epoch != epoch_) {
    MaybeReport();
    return;
  }
  switch (CodeOf(status)) {
    case ErrorCode::kShuttingDown:
      return;
    case ErrorCode::kStaleBrokerEpoch:
    case ErrorCode::kBrokerIdNotRegistered:
      // Reported again after the registration.
      OnStale(status);
      return;
    default:
      LOG(ERROR) << "broker " << deps_.identity.node_id
                 << " cannot report what its logs hold"
                 << (wanted_reported_ ? "" : ", it stays fenced")
                 << " and tries again: " << status;
      After(kReportRetryUs, &BrokerLifecycle::MaybeReport);
  }
}

}  // namespace sluice
