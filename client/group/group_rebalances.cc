// Partitions that come and go, and the commits between.
#include <algorithm>
#include <utility>

#include "client/group/group_consumer.h"
#include "common/base/error.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

// What is committed before partitions go back may not hold up the group.
constexpr int64_t kLastCommitUs = 5'000'000;
constexpr int64_t kStartAgainUs = 200'000;

}  // namespace

CommittedPositions GroupConsumer::Positions(
    const membership::Partitions* of) const {
  CommittedPositions positions;
  for (const auto& [tp, owned] : owned_) {
    if (!owned.position.has_value() || (of != nullptr && !of->contains(tp))) {
      continue;
    }
    // Nothing was read yet of the topic that has the name now (F72).
    const MetadataCache::Topic* topic = deps_.metadata->Find(tp.topic);
    if (owned.topic_id.is_set() && topic != nullptr &&
        topic->id != owned.topic_id) {
      continue;
    }
    positions[tp] = {*owned.position, owned.epoch, "", owned.topic_id};
    if (MUTANT(kUnreadCommitted) && !owned.waiting.empty()) {
      positions[tp].offset = owned.waiting.back().next;
    }
  }
  return positions;
}

// ---- Given back ----

void GroupConsumer::OnRelease(const membership::Partitions& partitions,
                              bool lost) {
  membership::Partitions told;
  for (const NamedPartition& tp : partitions) {
    if (owned_.contains(tp)) told.insert(tp);
    if (assigned_.has_value()) assigned_->erase(tp);
  }
  if (told.empty()) return member_.Released();  // nobody ever knew of them
  releasing_ = std::move(told);
  releasing_lost_ = lost;
  release_stage_ = ReleaseStage::kWanted;
  if (MUTANT(kRevokedMidPoll) && poll_ == nullptr) {
    GiveUp(std::exchange(releasing_, {}));
    release_stage_ = ReleaseStage::kNone;
    return member_.Released();
  }
  AnswerIfAny();
}

// What was handed out is done with: a Poll waits.
bool GroupConsumer::ReleaseStep(GroupPoll& into) {
  if (release_stage_ == ReleaseStage::kWanted) {
    const CommittedPositions positions = Positions(&releasing_);
    if (!options_.auto_commit || releasing_lost_ || positions.empty()) {
      release_stage_ = ReleaseStage::kDue;
    } else {
      release_stage_ = ReleaseStage::kCommitting;
      member_.Commit(positions, kLastCommitUs,
                     [this, alive = std::weak_ptr<bool>(alive_)](
                         const absl::Status&) {
                       // Refused or not: the group waits for the partitions,
                       // and whoever has them next reads on from what stands.
                       if (alive.expired() ||
                           release_stage_ != ReleaseStage::kCommitting) {
                         return;
                       }
                       release_stage_ = ReleaseStage::kDue;
                       // Posted: a commit that is refused at once ends within
                       // this step.
                       deps_.client.executor->Post([this, alive] {
                         if (!alive.expired()) AnswerIfAny();
                       });
                     });
    }
  }
  if (release_stage_ != ReleaseStage::kDue) return false;
  release_stage_ = ReleaseStage::kTold;
  into.rebalance = Rebalance{releasing_lost_ ? Rebalance::Kind::kLost
                                             : Rebalance::Kind::kRevoked,
                             releasing_};
  GiveUp(releasing_);
  return true;
}

void GroupConsumer::GiveUp(const membership::Partitions& partitions) {
  for (const NamedPartition& tp : partitions) {
    owned_.erase(tp);
    auto_committed_.erase(tp);
  }
  FetchWhatStarted();
}

// ---- Given ----

void GroupConsumer::OnAssigned(const membership::Partitions& added) {
  if (!assigned_.has_value()) assigned_.emplace();
  assigned_->insert(added.begin(), added.end());
  AnswerIfAny();
}

bool GroupConsumer::AssignStep(GroupPoll& into) {
  if (!assigned_.has_value()) return false;
  into.rebalance =
      Rebalance{Rebalance::Kind::kAssigned, *std::exchange(assigned_, {})};
  for (const NamedPartition& tp : into.rebalance->partitions) {
    owned_.try_emplace(tp);
  }
  starts_due_ = true;
  return true;
}

// For all that have no position: one asked for by Seek has.
void GroupConsumer::FindStarts() {
  starts_due_ = false;
  StartPositions::Question question;
  for (const auto& [tp, owned] : owned_) {
    if (!owned.position.has_value()) question.partitions.push_back(tp);
  }
  if (question.partitions.empty()) return;
  question.member = &member_;
  question.lives = alive_;
  question.reset = options_.reset;
  question.reset_back_ms = options_.reset_back_ms;
  question.reset_time_ms = options_.reset_time_ms;
  question.timeout_us = deps_.options.request_timeout_ms * 1000;
  question.done = [this, alive = std::weak_ptr<bool>(alive_),
                   round = ++starts_round_](const auto& starts) {
    if (!alive.expired()) OnStarts(round, starts);
  };
  StartPositions::Start(deps_, std::move(question));
}

void GroupConsumer::OnStarts(
    uint64_t round, const absl::StatusOr<CommittedPositions>& starts) {
  if (round != starts_round_) return;  // asked again since
  if (!starts.ok()) {
    const ErrorCode code = CodeOf(starts.status());
    // A new generation brings a new assignment.
    if (code == ErrorCode::kUnknownMemberId ||
        code == ErrorCode::kIllegalGeneration) {
      return;
    }
    if (IsRetriableStatus(starts.status())) {
      deps_.client.executor->PostAfter(
          kStartAgainUs, [this, round, alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired() && round == starts_round_) FindStarts();
          });
      return;
    }
    errors_.push_back(starts.status());
    return AnswerIfAny();
  }
  for (const auto& [tp, start] : *starts) {
    const auto found = owned_.find(tp);
    // Taken back, or sought, meanwhile.
    if (found == owned_.end() || found->second.position.has_value()) continue;
    found->second.position = start.offset;
    found->second.epoch = start.leader_epoch;
    found->second.topic_id = start.topic_id;
    // It stands there: nothing is to be committed before something is read.
    auto_committed_[tp] = start;
  }
  FetchWhatStarted();
}

void GroupConsumer::FetchWhatStarted() {
  std::vector<NamedPartition> started;
  for (const auto& [tp, owned] : owned_) {
    if (owned.position.has_value()) started.push_back(tp);
  }
  consumer_.Assign(started);
  for (auto& [tp, owned] : owned_) {
    if (!owned.position.has_value() || owned.fetched) continue;
    owned.fetched = true;
    const absl::Status sought =
        consumer_.Seek(tp, *owned.position, owned.epoch, owned.topic_id);
    if (!sought.ok()) errors_.push_back(sought);
    if (owned.paused) consumer_.Pause(tp);
  }
}

// ---- The end ----

void GroupConsumer::OnFailed(const absl::Status& status) {
  failed_ = status;
  consumer_.Assign({});
  owned_.clear();
  AnswerIfAny();
}

// ---- Auto-commit ----

// What the polls before this one have given: it is done with.
void GroupConsumer::AutoCommitIfDue() {
  const int64_t now_us = deps_.client.clock->MonoMicros();
  if (!options_.auto_commit || auto_committing_ ||
      now_us < next_auto_commit_us_ ||
      member_.generation() == membership::kNoGeneration) {
    return;
  }
  CommittedPositions news;
  for (auto& [tp, position] : Positions(nullptr)) {
    const auto known = auto_committed_.find(tp);
    if (known == auto_committed_.end() ||
        known->second.offset != position.offset ||
        known->second.topic_id != position.topic_id) {
      news[tp] = position;
    }
  }
  next_auto_commit_us_ = now_us + options_.auto_commit_interval_ms * 1000;
  if (news.empty()) return;
  auto_committing_ = true;
  member_.Commit(news, deps_.options.request_timeout_ms * 1000,
                 [this, news, alive = std::weak_ptr<bool>(alive_)](
                     const absl::Status& status) {
                   if (alive.expired()) return;
                   auto_committing_ = false;
                   // What failed is part of the next one.
                   if (!status.ok()) return;
                   for (const auto& [tp, position] : news) {
                     if (owned_.contains(tp)) auto_committed_[tp] = position;
                   }
                 });
}

}  // namespace sluice
