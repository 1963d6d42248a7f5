#include "controller/metadata/health.h"

#include <array>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "common/base/str_cat.h"
#include "controller/metadata/partition_change.h"
#include "controller/metadata/record_codec.h"

namespace sluice {
namespace {

using v1::HealthIssue;

std::vector<NodeId> Without(const std::vector<NodeId>& all,
                            const std::vector<NodeId>& some) {
  std::vector<NodeId> rest;
  for (const NodeId node : all) {
    if (!Contains(some, node)) rest.push_back(node);
  }
  return rest;
}

std::string LogText(const CandidateLog& log) {
  if (log.failed) return StrCat("broker ", log.node, " a log it cannot use");
  return StrCat("broker ", log.node, " a log to offset ", log.end, " of epoch ",
                log.last_epoch);
}

std::string ToldText(const PartitionImage& partition) {
  std::string text;
  for (const CandidateLog& log : partition.candidates) {
    text += StrCat(text.empty() ? "told so far: " : ", ", LogText(log));
  }
  return text.empty() ? "nobody has told of a log yet" : text;
}

// Nobody is known to hold everything: the best log is looked for.
std::string WhyNoBestLog(const PartitionImage& partition,
                         absl::FunctionRef<bool(NodeId)> is_active) {
  std::vector<NodeId> silent;
  for (const NodeId node : partition.replicas) {
    if (is_active(node) && partition.CandidateOf(node) == nullptr) {
      silent.push_back(node);
    }
  }
  const std::vector<NodeId> missing = MissingWitnesses(partition);
  const std::string told = ToldText(partition);
  if (!silent.empty()) {
    return StrCat("the best log is looked for, brokers ", NodesText(silent),
                  " are alive and have not told of theirs; ", told);
  }
  // One of the last full ISR came back empty: the others are asked too.
  const bool all_asked = !Without(missing, partition.last_full_isr).empty();
  if (!missing.empty()) {
    return StrCat("no replica is known to hold everything that was committed, "
                  "and brokers ",
                  NodesText(missing),
                  all_asked ? " of the replicas " : " of the last full ISR ",
                  NodesText(all_asked ? partition.replicas
                                      : partition.last_full_isr),
                  " have not told of a log that can be used; start them with "
                  "their data directories, or accept the loss: sluice "
                  "partition elect --unclean; ",
                  told);
  }
  return StrCat("no broker with the best log is alive: start it, or accept the "
                "loss: sluice partition elect --unclean; ",
                told);
}

std::string WhyNoLeader(const PartitionImage& partition,
                        absl::FunctionRef<bool(NodeId)> is_active) {
  if (partition.unclean_ordered) {
    return StrCat("an unclean election is ordered and comes when every live "
                  "replica has told of its log; ",
                  ToldText(partition));
  }
  if (!partition.elr.empty()) {
    return StrCat("its eligible brokers ", NodesText(partition.elr),
                  " hold everything committed but are not alive",
                  partition.unverified_elr.empty()
                      ? ""
                      : StrCat(", and ", NodesText(partition.unverified_elr),
                               " stopped unclean and have not reported"),
                  "; start one of them (should their disks be gone: sluice "
                  "partition elect --unclean)");
  }
  if (!partition.unverified_elr.empty()) {
    return StrCat("brokers ", NodesText(partition.unverified_elr),
                  " stopped unclean and have not reported what their logs "
                  "hold; start them and wait for their recovery");
  }
  return WhyNoBestLog(partition, is_active);
}

std::string UncleanText(const PartitionImage& partition) {
  const UncleanLoss& loss = partition.unclean_loss;
  return StrCat("broker ", loss.leader, " was elected unclean in epoch ",
                partition.last_unclean_leader_epoch, ": records from offset ",
                loss.first, " on that had been acknowledged may be lost",
                loss.known_end > loss.first
                    ? StrCat(" (the longest log that was alive ended at ",
                             loss.known_end, ")")
                    : std::string());
}

// While it is not healed: what the last unclean election may have cost.
std::string LossText(const PartitionImage& partition) {
  if (partition.last_unclean_leader_epoch == kNoLeaderEpoch) return "";
  return StrCat("; ", UncleanText(partition));
}

// Worst first; what is not named comes behind, in the order of the numbers.
constexpr HealthIssue::Kind kWorst[] = {HealthIssue::KIND_NO_LEADER,
                                        HealthIssue::KIND_UNDER_MIN_ISR,
                                        HealthIssue::KIND_UNCLEAN_ELECTION};

class Collector {
 public:
  Collector(const MetadataImage& image, const ConfigRegistry& configs)
      : image_(image), configs_(configs) {}

  std::vector<HealthIssue> Collect() {
    for (const auto& [name, id] : image_.names()) {
      const TopicImage& topic = *image_.FindTopic(id);
      const size_t min_isr = static_cast<size_t>(configs_.MinIsrOf(topic));
      for (const auto& [index, partition] : topic.partitions) {
        OnPartition(topic, index, *partition, min_isr);
      }
    }
    for (const auto& [id, broker] : image_.brokers()) OnBroker(*broker);
    return Finish();
  }

 private:
  HealthIssue* Add(HealthIssue::Kind kind) {
    auto& list = by_kind_[static_cast<size_t>(kind)];
    ++total_;
    // Of each kind no more than could be shown.
    if (list.size() >= kHealthIssuesMax) return nullptr;
    list.emplace_back();
    list.back().set_kind(kind);
    return &list.back();
  }

  void OnFailedReplica(const TopicImage& topic, PartitionIndex index,
                       NodeId node) {
    HealthIssue* issue = Add(HealthIssue::KIND_REPLICA_FAILED);
    if (issue == nullptr) return;
    issue->set_topic(topic.name);
    issue->set_partition(index.value());
    issue->set_broker_id(node.value());
    issue->set_message(StrCat(
        "the replica of ", topic.name, "-", index, " on broker ", node,
        " FAILED, its log file says why: with a bad file it is filled again "
        "by itself once another leads; else look at it, then sluice partition "
        "reset-replica ",
        topic.name, " ", index, " ", node,
        " sets its files aside and fills it from the leader"));
  }

  void OnUnclean(const TopicImage& topic, PartitionIndex index,
                 const PartitionImage& partition) {
    HealthIssue* issue = Add(HealthIssue::KIND_UNCLEAN_ELECTION);
    if (issue == nullptr) return;
    issue->set_topic(topic.name);
    issue->set_partition(index.value());
    issue->set_broker_id(partition.leader.value());
    issue->set_message(StrCat(
        topic.name, "-", index, ": ", UncleanText(partition),
        "; compare with what its producers sent. This is said until another "
        "leader is elected, by sluice partition elect or a restart"));
  }

  // Of each replica that is not in sync, and what to do about it.
  std::string WhyMissing(const PartitionImage& partition) const {
    std::vector<NodeId> down, failed, demoted, behind;
    for (const NodeId node : Without(partition.replicas, partition.isr)) {
      (Contains(partition.failed_replicas, node) ? failed
       : !image_.IsActive(node)                  ? down
       : image_.IsDemoted(node)                  ? demoted
                                                 : behind)
          .push_back(node);
    }
    std::string text;
    const auto add = [&text](const std::vector<NodeId>& nodes,
                             std::string_view what) {
      if (nodes.empty()) return;
      text += StrCat(text.empty() ? "" : "; ", "of brokers ", NodesText(nodes),
                     " ", what);
    };
    add(down, "no session is alive: start them");
    add(failed, "the replicas FAILED: their own lines say what to do");
    add(demoted, "the disks are slow or full (BROKER_DEMOTED): look at them");
    add(behind, StrCat("the replicas lag behind leader ", partition.leader,
                       ": if it stays so, look at their disks and network"));
    return text;
  }

  void OnPartition(const TopicImage& topic, PartitionIndex index,
                   const PartitionImage& partition, size_t min_isr) {
    for (const NodeId node : partition.failed_replicas) {
      OnFailedReplica(topic, index, node);
    }
    if (partition.leader != kNoNode &&
        partition.leader_epoch == partition.last_unclean_leader_epoch) {
      OnUnclean(topic, index, partition);
    }
    HealthIssue* issue = nullptr;
    std::string text;
    const std::string name = StrCat(topic.name, "-", index);
    const std::string isr = NodesText(partition.isr);
    if (partition.leader == kNoNode) {
      if ((issue = Add(HealthIssue::KIND_NO_LEADER)) == nullptr) return;
      text = StrCat(name, " has no leader, reads and writes fail: ",
                    WhyNoLeader(partition, [this](NodeId node) {
                      return image_.IsActive(node);
                    }));
    } else if (partition.isr.size() < min_isr) {
      if ((issue = Add(HealthIssue::KIND_UNDER_MIN_ISR)) == nullptr) return;
      text = StrCat(name, " has ", partition.isr.size(), " in-sync replicas ",
                    isr, " of ", min_isr,
                    " that acks=all needs, such writes fail: ",
                    WhyMissing(partition), LossText(partition));
    } else if (partition.isr.size() < partition.replicas.size()) {
      if ((issue = Add(HealthIssue::KIND_UNDER_REPLICATED)) == nullptr) return;
      text = StrCat(name, " has in-sync replicas ", isr, ": ",
                    WhyMissing(partition), LossText(partition));
    } else {
      return;
    }
    issue->set_topic(topic.name);
    issue->set_partition(index.value());
    issue->set_broker_id(partition.leader.value());
    issue->set_message(text);
  }

  void OnDemoted(const BrokerImage& broker) {
    HealthIssue* issue = Add(HealthIssue::KIND_BROKER_DEMOTED);
    if (issue == nullptr) return;
    issue->set_partition(-1);
    issue->set_broker_id(broker.id.value());
    issue->set_message(StrCat(
        "broker ", broker.id, " (epoch ", broker.epoch,
        ") is demoted: its syncs or appends take far longer than those of the "
        "other brokers, or a disk of its is full. It leads only what nobody "
        "else can, and leaves every ISR that is large enough without it; look "
        "at its disks. It counts again once they were fast and had room for a "
        "while; then sluice partition elect gives it back what it led"));
  }

  void OnBroker(const BrokerImage& broker) {
    if (broker.demoted) OnDemoted(broker);
    if (broker.active()) return;
    HealthIssue* issue = Add(HealthIssue::KIND_BROKER_FENCED);
    if (issue == nullptr) return;
    issue->set_partition(-1);
    issue->set_broker_id(broker.id.value());
    issue->set_message(
        broker.fenced
            ? StrCat("broker ", broker.id, " (epoch ", broker.epoch,
                     ") is fenced: it is down, cannot reach the active "
                     "controller, or recovers; look at its log")
            : StrCat("broker ", broker.id, " (epoch ", broker.epoch,
                     ") is stopping: it leads nothing and takes no replica "
                     "until it was started again"));
  }

  std::vector<HealthIssue> Finish() {
    std::vector<HealthIssue> all;
    const auto take = [&](std::vector<HealthIssue>& list) {
      for (HealthIssue& issue : std::exchange(list, {})) {
        if (all.size() == kHealthIssuesMax) break;
        all.push_back(std::move(issue));
      }
    };
    for (const HealthIssue::Kind kind : kWorst) {
      take(by_kind_[static_cast<size_t>(kind)]);
    }
    for (auto& list : by_kind_) take(list);
    if (total_ > all.size()) {
      all.back().set_message(StrCat(all.back().message(), " (and ",
                                    total_ - all.size(), " more issues)"));
    }
    return all;
  }

  const MetadataImage& image_;
  const ConfigRegistry& configs_;
  std::array<std::vector<HealthIssue>, HealthIssue::Kind_ARRAYSIZE> by_kind_;
  size_t total_ = 0;
};

}  // namespace

std::vector<HealthIssue> HealthIssuesOf(const MetadataImage& image,
                                        const ConfigRegistry& configs) {
  return Collector(image, configs).Collect();
}

}  // namespace sluice
