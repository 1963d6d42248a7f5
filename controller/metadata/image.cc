#include "controller/metadata/image.h"

#include <algorithm>

namespace sluice {
namespace {

// FNV-1a over a canonical walk: every list is preceded by its length.
class Hasher {
 public:
  void Number(int64_t value) {
    for (int i = 0; i < 8; ++i) Byte(static_cast<uint8_t>(value >> (8 * i)));
  }
  void Text(std::string_view text) {
    Number(static_cast<int64_t>(text.size()));
    for (const char c : text) Byte(static_cast<uint8_t>(c));
  }
  void Id(const Uuid& id) {
    Number(static_cast<int64_t>(id.high()));
    Number(static_cast<int64_t>(id.low()));
  }
  void Nodes(const std::vector<NodeId>& nodes) {
    Number(static_cast<int64_t>(nodes.size()));
    for (const NodeId node : nodes) Number(node.value());
  }
  void Map(const std::map<std::string, std::string>& map) {
    Number(static_cast<int64_t>(map.size()));
    for (const auto& [key, value] : map) {
      Text(key);
      Text(value);
    }
  }
  uint64_t value() const { return value_; }

 private:
  void Byte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
  uint64_t value_ = 0xcbf29ce484222325;
};

void HashBroker(const BrokerImage& broker, Hasher& hash) {
  hash.Number(broker.id.value());
  hash.Number(broker.epoch.value());
  hash.Id(broker.incarnation);
  hash.Number(broker.fenced);
  hash.Number(broker.stopping);
  hash.Number(broker.demoted);
  hash.Number(static_cast<int64_t>(broker.listeners.size()));
  for (const auto& listener : broker.listeners) {
    hash.Text(listener.name());
    hash.Text(listener.protocol());
    hash.Text(listener.authenticator());
    hash.Text(listener.endpoint().host());
    hash.Number(listener.endpoint().port());
  }
  hash.Text(broker.rack);
  hash.Number(static_cast<int64_t>(broker.directories.size()));
  for (const DirectoryId& id : broker.directories) hash.Id(id);
  hash.Number(broker.feature_min);
  hash.Number(broker.feature_max);
  hash.Text(broker.version);
  hash.Number(broker.was_clean);
}

void HashPartition(const PartitionImage& p, Hasher& hash) {
  hash.Nodes(p.replicas);
  hash.Number(static_cast<int64_t>(p.directories.size()));
  for (const DirectoryId& id : p.directories) hash.Id(id);
  hash.Nodes(p.isr);
  hash.Nodes(p.elr);
  hash.Nodes(p.unverified_elr);
  hash.Nodes(p.last_full_isr);
  hash.Number(p.leader.value());
  hash.Number(p.leader_epoch.value());
  hash.Number(p.partition_epoch.value());
  hash.Number(p.last_unclean_leader_epoch.value());
  hash.Number(p.unclean_loss.leader.value());
  hash.Number(p.unclean_loss.first.value());
  hash.Number(p.unclean_loss.known_end.value());
  hash.Nodes(p.adding_replicas);
  hash.Nodes(p.removing_replicas);
  hash.Number(static_cast<int64_t>(p.candidates.size()));
  for (const CandidateLog& log : p.candidates) {
    hash.Number(log.node.value());
    hash.Number(log.last_epoch.value());
    hash.Number(log.end.value());
    hash.Number(log.high_watermark.value());
    hash.Number(log.failed);
  }
  hash.Number(p.unclean_ordered);
  hash.Nodes(p.failed_replicas);
  hash.Number(p.log_start.value());
}

}  // namespace

const internal::v1::BrokerListener* BrokerImage::FindListener(
    std::string_view name) const {
  for (const auto& listener : listeners) {
    if (listener.name() == name) return &listener;
  }
  return nullptr;
}

bool Contains(const std::vector<NodeId>& list, NodeId node) {
  return std::find(list.begin(), list.end(), node) != list.end();
}

DirectoryId PartitionImage::DirectoryOf(NodeId node) const {
  for (size_t i = 0; i < replicas.size(); ++i) {
    if (replicas[i] == node) {
      return i < directories.size() ? directories[i] : DirectoryId();
    }
  }
  return DirectoryId();
}

const CandidateLog* PartitionImage::CandidateOf(NodeId node) const {
  for (const CandidateLog& log : candidates) {
    if (log.node == node) return &log;
  }
  return nullptr;
}

bool PartitionImage::AsksForLogs(bool unclean) const {
  return leader == kNoNode &&
         (unclean || unclean_ordered ||
          (isr.empty() && elr.empty() && unverified_elr.empty()));
}

const PartitionImage* TopicImage::Find(PartitionIndex partition) const {
  const auto* found = partitions.Find(partition);
  return found == nullptr ? nullptr : found->get();
}

int32_t TopicImage::replication_factor() const {
  if (partitions.empty()) return 0;
  return static_cast<int32_t>(partitions.begin()->second->replicas.size());
}

std::shared_ptr<const MetadataImage> MetadataImage::Empty() {
  return std::make_shared<const MetadataImage>();
}

const BrokerImage* MetadataImage::FindBroker(NodeId id) const {
  const auto found = brokers_.find(id);
  return found == brokers_.end() ? nullptr : found->second.get();
}

const TopicImage* MetadataImage::FindTopic(const TopicId& id) const {
  const auto* found = topics_.Find(id);
  return found == nullptr ? nullptr : found->get();
}

const TopicImage* MetadataImage::FindTopic(std::string_view name) const {
  const TopicId* id = names_.Find(std::string(name));
  return id == nullptr ? nullptr : FindTopic(*id);
}

const PartitionImage* MetadataImage::FindPartition(
    const TopicPartition& tp) const {
  const TopicImage* topic = FindTopic(tp.topic_id);
  return topic == nullptr ? nullptr : topic->Find(tp.partition);
}

bool MetadataImage::IsActive(NodeId id) const {
  const BrokerImage* broker = FindBroker(id);
  return broker != nullptr && broker->active();
}

bool MetadataImage::IsDemoted(NodeId id) const {
  const BrokerImage* broker = FindBroker(id);
  return broker != nullptr && broker->demoted;
}

int MetadataImage::ActiveBrokerCount() const {
  int count = 0;
  for (const auto& [id, broker] : brokers_) count += broker->active();
  return count;
}

uint64_t MetaHash(const MetadataImage& image) {
  Hasher hash;
  hash.Number(image.offset().value());
  hash.Number(image.term().value());
  hash.Number(image.feature_level());
  hash.Number(image.first_producer_id().value());
  hash.Number(image.next_producer_id().value());
  for (const auto& [id, broker] : image.brokers()) HashBroker(*broker, hash);
  for (const auto& [id, topic] : image.topics()) {
    hash.Id(id);
    hash.Text(topic->name);
    hash.Number(topic->kind);
    hash.Number(topic->write_fenced);
    hash.Map(topic->configs);
    for (const auto& [index, partition] : topic->partitions) {
      hash.Number(index.value());
      HashPartition(*partition, hash);
    }
  }
  for (const auto& [name, id] : image.names()) {
    hash.Text(name);
    hash.Id(id);
  }
  for (const auto& [name, configs] : image.configs()) {
    hash.Text(name);
    hash.Map(configs);
  }
  return hash.value();
}

}  // namespace sluice
