#include "broker/replicas.h"

#include <utility>

namespace sluice {
namespace {

// Collects one answer of each of `count` parties on one executor.
template <class Result>
struct Gather {
  size_t missing;
  Result result;
  absl::AnyInvocable<void(Result)> done;

  void Arrived() {
    if (--missing == 0) done(std::move(result));
  }
};

}  // namespace

void Replicas::RecoverLogs(absl::AnyInvocable<void(Verdicts)> some,
                           absl::AnyInvocable<void()> done) {
  struct Told {
    size_t shards_left;
    absl::AnyInvocable<void(Verdicts)> some;
    absl::AnyInvocable<void()> done;
  };
  auto told = std::make_shared<Told>(
      Told{shards_.size(), std::move(some), std::move(done)});
  for (const auto& shard : shards_) {
    shard->executor()->Post([this, told, shard = shard.get()] {
      shard->RecoverLogs([this, told](Verdicts found, bool last) {
        control_->Post([told, found = std::move(found), last]() mutable {
          if (!found.empty()) told->some(std::move(found));
          if (last && --told->shards_left == 0) told->done();
        });
      });
    });
  }
}

void Replicas::RecoverFirst(std::vector<TopicPartition> wanted) {
  std::vector<std::vector<TopicPartition>> parts(shards_.size());
  for (const TopicPartition& tp : wanted) parts[IndexOf(tp)].push_back(tp);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    shards_[i]->executor()->Post(
        [shard = shards_[i].get(), part = std::move(parts[i])] {
          shard->RecoverFirst(part);
        });
  }
}

void Replicas::ApplyMetadata(std::shared_ptr<const MetadataImage> image,
                             const MetadataChanges& changes,
                             BrokerEpoch /*own_epoch*/) {
  if (!confirmed_) {
    confirmed_ = true;
    for (LogDirectory* directory : directories_) directory->ConfirmRun();
  }
  const auto shared = std::make_shared<const MetadataChanges>(changes);
  for (const auto& shard : shards_) {
    shard->executor()->Post([shard = shard.get(), image, shared] {
      shard->ApplyMetadata(image, *shared);
    });
  }
}

void Replicas::OnIsrDecisions(std::vector<IsrDecision> decisions) {
  std::vector<std::vector<IsrDecision>> parts(shards_.size());
  for (IsrDecision& decision : decisions) {
    parts[IndexOf(decision.tp)].push_back(decision);
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    shards_[i]->executor()->Post(
        [shard = shards_[i].get(), part = std::move(parts[i])] {
          shard->OnIsrDecisions(part);
        });
  }
}

void Replicas::OnLogStartDecisions(std::vector<LogStartDecision> decisions) {
  std::vector<std::vector<LogStartDecision>> parts(shards_.size());
  for (LogStartDecision& decision : decisions) {
    parts[IndexOf(decision.tp)].push_back(std::move(decision));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) continue;
    shards_[i]->executor()->Post(
        [shard = shards_[i].get(), part = std::move(parts[i])] {
          shard->OnLogStartDecisions(part);
        });
  }
}

void Replicas::ResetReplica(const ReplicaReset& order, Shard::ResetDone done) {
  Shard* shard = shards_[IndexOf(order.tp)].get();
  shard->executor()->Post([this, shard, order,
                           done = std::move(done)]() mutable {
    shard->ResetReplica(order, [this, done = std::move(done)](
                                   absl::StatusOr<std::string> failed) mutable {
      control_->Post([done = std::move(done), failed = std::move(failed)]()
                         mutable { done(std::move(failed)); });
    });
  });
}

void Replicas::StopClean(BrokerEpoch own_epoch,
                         absl::AnyInvocable<void(absl::Status)> done) {
  auto gather = std::make_shared<Gather<absl::Status>>();
  gather->missing = shards_.size();
  gather->done = [this, own_epoch,
                  done = std::move(done)](absl::Status status) mutable {
    CloseDirectories(own_epoch, status, std::move(done));
  };
  for (const auto& shard : shards_) {
    shard->executor()->Post([this, gather, shard = shard.get()] {
      shard->CloseClean([this, gather](absl::Status closed) {
        control_->Post([gather, closed] {
          if (!closed.ok()) gather->result = closed;
          gather->Arrived();
        });
      });
    });
  }
}

void Replicas::CloseDirectories(BrokerEpoch own_epoch, absl::Status so_far,
                                absl::AnyInvocable<void(absl::Status)> done) {
  // A log that could not be synced must not look cleanly stopped.
  if (!so_far.ok()) return done(so_far);
  auto gather = std::make_shared<Gather<absl::Status>>();
  gather->missing = directories_.size();
  gather->done = std::move(done);
  for (LogDirectory* directory : directories_) {
    directory->StopClean(own_epoch, control_, [gather](absl::Status stopped) {
      if (!stopped.ok()) gather->result = stopped;
      gather->Arrived();
    });
  }
}

}  // namespace sluice
