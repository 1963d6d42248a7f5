#include "controller/metadata/health.h"

#include <array>
#include <string>
#include <utility>

#include "common/base/str_cat.h"
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

std::string WhyNoLeader(const PartitionImage& partition) {
  if (!partition.elr.empty()) {
    return StrCat("its eligible brokers ", NodesText(partition.elr),
                  " hold everything committed but are not alive",
                  partition.unverified_elr.empty()
                      ? ""
                      : StrCat(", and ", NodesText(partition.unverified_elr),
                               " stopped unclean and have not reported"),
                  "; start one of them");
  }
  if (!partition.unverified_elr.empty()) {
    return StrCat("brokers ", NodesText(partition.unverified_elr),
                  " stopped unclean and have not reported what their logs "
                  "hold; start them and wait for their recovery");
  }
  return StrCat(
      "no replica is known to hold everything that was committed: "
      "the last full ISR was ",
      NodesText(partition.last_full_isr),
      "; start those brokers with their data directories");
}

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

  void OnPartition(const TopicImage& topic, PartitionIndex index,
                   const PartitionImage& partition, size_t min_isr) {
    HealthIssue* issue = nullptr;
    std::string text;
    const std::string name = StrCat(topic.name, "-", index);
    const std::string isr = NodesText(partition.isr);
    const std::string missing =
        NodesText(Without(partition.replicas, partition.isr));
    if (partition.leader == kNoNode) {
      if ((issue = Add(HealthIssue::KIND_NO_LEADER)) == nullptr) return;
      text = StrCat(name, " has no leader, reads and writes fail: ",
                    WhyNoLeader(partition));
    } else if (partition.isr.size() < min_isr) {
      if ((issue = Add(HealthIssue::KIND_UNDER_MIN_ISR)) == nullptr) return;
      text = StrCat(name, " has ", partition.isr.size(), " in-sync replicas ",
                    isr, " of ", min_isr,
                    " that acks=all needs, such writes fail: brokers ", missing,
                    " are down or lag; start them");
    } else if (partition.isr.size() < partition.replicas.size()) {
      if ((issue = Add(HealthIssue::KIND_UNDER_REPLICATED)) == nullptr) return;
      text = StrCat(name, " has in-sync replicas ", isr, ", brokers ", missing,
                    " are down or lag behind leader ", partition.leader,
                    "; start them, or look at their disks and network");
    } else {
      return;
    }
    issue->set_topic(topic.name);
    issue->set_partition(index.value());
    issue->set_broker_id(partition.leader.value());
    issue->set_message(text);
  }

  void OnBroker(const BrokerImage& broker) {
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
    for (auto& list : by_kind_) {
      for (HealthIssue& issue : list) {
        if (all.size() == kHealthIssuesMax) break;
        all.push_back(std::move(issue));
      }
    }
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
