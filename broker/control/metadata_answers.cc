#include "broker/control/metadata_answers.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "controller/metadata/control_result.h"
#include "controller/metadata/health.h"
#include "controller/metadata/record_codec.h"
#include "controller/metadata/topic_control.h"

namespace sluice {
namespace {

// One page of topics, or the topics that were named.
struct Page {
  struct Item {
    const TopicImage* topic = nullptr;  // null: see error
    const v1::TopicRef* ref = nullptr;  // null: listed
    v1::Error error;
  };
  std::vector<Item> items;
  std::string next_token;
};

absl::StatusOr<size_t> PageSizeOf(int32_t asked) {
  if (asked < 0 || asked > kPageSizeMax) {
    return MakeError(ErrorCode::kInvalidRequest, "page_size ", asked,
                     "; it must be 0 (", kPageSizeDefault, ") to ",
                     kPageSizeMax);
  }
  return static_cast<size_t>(asked == 0 ? kPageSizeDefault : asked);
}

// The token is the last name of the page before: pages stay right while
// topics come and go.
absl::StatusOr<Page> List(const MetadataImage& image, bool include_internal,
                          int32_t page_size, const std::string& token,
                          bool count_partitions) {
  ASSIGN_OR_RETURN(const size_t size, PageSizeOf(page_size));
  if (token.size() > kTopicNameBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "page_token of ",
                     token.size(),
                     " bytes; pass the next_page_token of the page before");
  }
  Page page;
  size_t partitions = 0;
  for (auto it = image.names().LowerBound(token); it != image.names().end();
       ++it) {
    if (it->first == token) continue;
    const TopicImage* topic = image.FindTopic(it->second);
    if (topic->internal() && !include_internal) continue;
    if (count_partitions) partitions += topic->partitions.size();
    if (page.items.size() == size ||
        (partitions > kPartitionsPerAnswerMax && !page.items.empty())) {
      page.next_token = page.items.back().topic->name;
      break;
    }
    page.items.push_back({topic, nullptr, {}});
  }
  return page;
}

template <class Refs>
absl::StatusOr<Page> Named(const MetadataImage& image, const Refs& refs) {
  if (refs.size() > kTopicsPerCallMax) {
    return MakeError(ErrorCode::kInvalidRequest, refs.size(),
                     " topics in one call; at most ", kTopicsPerCallMax);
  }
  Page page;
  size_t partitions = 0;
  for (const v1::TopicRef& ref : refs) {
    Page::Item& item = page.items.emplace_back();
    item.ref = &ref;
    item.topic = FindTopicRef(image, ref, &item.error);
    if (item.topic == nullptr) continue;
    const size_t count = item.topic->partitions.size();
    if (partitions > 0 && partitions + count > kPartitionsPerAnswerMax) {
      item.topic = nullptr;
      item.error = ToError(MakeError(
          ErrorCode::kRequestTooLarge, "the topics named have more than ",
          kPartitionsPerAnswerMax, " partitions; ask for this one apart"));
      continue;
    }
    partitions += count;
  }
  return page;
}

// Answers how a node is reached, brokers by broker.
class Describer {
 public:
  Describer(const MetadataImage& image, const std::string& listener)
      : image_(image), listener_(listener) {}

  const v1::Endpoint* EndpointOf(NodeId node) const {
    const BrokerImage* broker = image_.FindBroker(node);
    const auto* found =
        broker == nullptr ? nullptr : broker->FindListener(listener_);
    return found == nullptr ? nullptr : &found->endpoint();
  }

  v1::TopicMetadata Describe(const Page::Item& item) const {
    v1::TopicMetadata out;
    if (item.topic == nullptr) {
      *out.mutable_error() = item.error;
      Echo(*item.ref, &out);
      return out;
    }
    out = TopicHead(*item.topic);
    for (const auto& [index, partition] : item.topic->partitions) {
      Describe(index, *partition, out.add_partitions());
    }
    return out;
  }

  void Describe(PartitionIndex index, const PartitionImage& partition,
                v1::PartitionMetadata* out) const {
    out->set_partition(index.value());
    out->set_leader_id(partition.leader.value());
    out->set_leader_epoch(partition.leader_epoch.value());
    out->set_partition_epoch(partition.partition_epoch.value());
    SetNodes(partition.replicas, out->mutable_replicas());
    SetNodes(partition.isr, out->mutable_isr());
    SetNodes(partition.elr, out->mutable_elr());
    SetNodes(partition.unverified_elr, out->mutable_unverified_elr());
    for (const NodeId node : partition.replicas) {
      const BrokerImage* broker = image_.FindBroker(node);
      if (broker == nullptr || broker->fenced) {
        out->add_offline_replicas(node.value());
      }
    }
    SetNodes(partition.failed_replicas, out->mutable_failed_replicas());
    SetNodes(partition.last_full_isr, out->mutable_last_full_isr());
    for (const CandidateLog& log : partition.candidates) {
      *out->add_candidates() = ToMessage(log);
    }
    out->set_unclean_ordered(partition.unclean_ordered);
    out->set_last_unclean_leader_epoch(
        partition.last_unclean_leader_epoch.value());
    if (partition.last_unclean_leader_epoch != kNoLeaderEpoch) {
      *out->mutable_unclean_loss() = ToMessage(partition.unclean_loss);
    }
    if (const v1::Endpoint* endpoint = EndpointOf(partition.leader)) {
      *out->mutable_leader_endpoint() = *endpoint;
    }
  }

 private:
  static void Echo(const v1::TopicRef& ref, v1::TopicMetadata* out) {
    if (ref.has_name()) {
      out->set_name(ref.name().substr(0, kTopicNameBytesMax));
    } else if (ref.has_id()) {
      out->set_id(ref.id().substr(0, 16));
    }
  }

  const MetadataImage& image_;
  const std::string& listener_;
};

v1::Broker DescribeBroker(const BrokerImage& broker) {
  v1::Broker out;
  out.set_id(broker.id.value());
  out.set_broker_epoch(broker.epoch.value());
  out.set_rack(broker.rack);
  out.set_fenced(broker.fenced);
  out.set_stopping(broker.stopping);
  out.set_demoted(broker.demoted);
  for (const DirectoryId& id : broker.directories) {
    out.add_directories(id.ToBytes());
  }
  return out;
}

void AddListener(const internal::v1::BrokerListener& listener,
                 v1::Broker* out) {
  v1::Listener* added = out->add_listeners();
  added->set_name(listener.name());
  added->set_protocol(listener.protocol());
  *added->mutable_endpoint() = listener.endpoint();
}

}  // namespace

std::optional<v1::Broker> ReachableBroker(const MetadataImage& image,
                                          const std::string& listener,
                                          NodeId id) {
  const BrokerImage* broker = image.FindBroker(id);
  if (broker == nullptr || broker->fenced) return std::nullopt;
  const auto* found = broker->FindListener(listener);
  if (found == nullptr) return std::nullopt;
  v1::Broker out = DescribeBroker(*broker);
  AddListener(*found, &out);
  return out;
}

v1::TopicMetadata TopicHead(const TopicImage& topic) {
  v1::TopicMetadata out;
  out.set_name(topic.name);
  out.set_id(topic.id.ToBytes());
  out.set_internal(topic.internal());
  return out;
}

void DescribePartition(const MetadataImage& image, const std::string& listener,
                       PartitionIndex index, const PartitionImage& partition,
                       v1::PartitionMetadata* out) {
  Describer(image, listener).Describe(index, partition, out);
}

const TopicImage* FindTopicRef(const MetadataImage& image,
                               const v1::TopicRef& ref, v1::Error* error) {
  if (ref.has_name()) {
    if (const TopicImage* topic = image.FindTopic(ref.name())) return topic;
    absl::Status status = CheckTopicName(ref.name());
    if (status.ok()) {
      status = MakeError(ErrorCode::kUnknownTopicOrPartition, "no topic \"",
                         ref.name(), "\" at metadata offset ", image.offset(),
                         "; create it, or try again if it is new");
    }
    *error = ToError(status);
    return nullptr;
  }
  const auto id = ref.has_id() ? TopicId::FromBytes(ref.id()) : std::nullopt;
  if (!id.has_value() || !id->is_set()) {
    *error = ToError(MakeError(ErrorCode::kInvalidRequest,
                               "a topic needs a name or an id of 16 bytes"));
    return nullptr;
  }
  const TopicImage* topic = image.FindTopic(*id);
  if (topic == nullptr) {
    *error = ToError(MakeError(ErrorCode::kUnknownTopicId, "no topic has id ",
                               *id, " at metadata offset ", image.offset(),
                               "; it was deleted, or is new: look it up by "
                               "name"));
  }
  return topic;
}

absl::StatusOr<v1::GetMetadataResponse> AnswerGetMetadata(
    const MetadataImage& image, const std::string& listener,
    const v1::GetMetadataRequest& request) {
  v1::GetMetadataResponse response;
  response.set_metadata_offset(image.offset().value());
  for (const auto& [id, broker] : image.brokers()) {
    auto reachable = ReachableBroker(image, listener, id);
    if (reachable.has_value()) *response.add_brokers() = *std::move(reachable);
  }
  if (request.brokers_only()) return response;
  ASSIGN_OR_RETURN(
      Page page,
      request.topics().empty()
          ? List(image, request.include_internal(), request.page_size(),
                 request.page_token(), true)
          : Named(image, request.topics()));
  const Describer describer(image, listener);
  for (const Page::Item& item : page.items) {
    *response.add_topics() = describer.Describe(item);
  }
  response.set_next_page_token(std::move(page.next_token));
  return response;
}

absl::StatusOr<v1::ListTopicsResponse> AnswerListTopics(
    const MetadataImage& image, const v1::ListTopicsRequest& request) {
  ASSIGN_OR_RETURN(Page page,
                   List(image, request.include_internal(), request.page_size(),
                        request.page_token(), false));
  v1::ListTopicsResponse response;
  for (const Page::Item& item : page.items) {
    v1::TopicSummary* out = response.add_topics();
    out->set_name(item.topic->name);
    out->set_id(item.topic->id.ToBytes());
    out->set_partition_count(
        static_cast<int32_t>(item.topic->partitions.size()));
    out->set_replication_factor(item.topic->replication_factor());
    out->set_internal(item.topic->internal());
  }
  response.set_next_page_token(std::move(page.next_token));
  return response;
}

absl::StatusOr<v1::DescribeTopicsResponse> AnswerDescribeTopics(
    const MetadataImage& image, const ConfigRegistry& configs,
    const std::string& listener, const v1::DescribeTopicsRequest& request) {
  ASSIGN_OR_RETURN(
      Page page,
      request.topics().empty()
          ? List(image, request.include_internal(), request.page_size(),
                 request.page_token(), true)
          : Named(image, request.topics()));
  v1::DescribeTopicsResponse response;
  const Describer describer(image, listener);
  for (const Page::Item& item : page.items) {
    v1::TopicDescription* out = response.add_topics();
    *out->mutable_metadata() = describer.Describe(item);
    if (item.topic == nullptr) continue;
    for (v1::ConfigEntry& entry : configs.Describe(
             item.topic->configs, item.topic->replication_factor())) {
      *out->add_configs() = std::move(entry);
    }
  }
  response.set_next_page_token(std::move(page.next_token));
  return response;
}

v1::DescribeClusterResponse AnswerDescribeCluster(
    const MetadataImage& image, const ConfigRegistry& configs) {
  v1::DescribeClusterResponse response;
  response.set_metadata_offset(image.offset().value());
  response.set_metadata_term(image.term().value());
  std::map<NodeId, std::pair<int, int>> counts;  // leaders, replicas
  for (const auto& [id, topic] : image.topics()) {
    for (const auto& [index, partition] : topic->partitions) {
      if (partition->leader != kNoNode) ++counts[partition->leader].first;
      for (const NodeId node : partition->replicas) ++counts[node].second;
    }
  }
  for (const auto& [id, broker] : image.brokers()) {
    v1::Broker* out = response.add_brokers();
    *out = DescribeBroker(*broker);
    for (const auto& listener : broker->listeners) AddListener(listener, out);
    out->set_leader_count(counts[id].first);
    out->set_replica_count(counts[id].second);
  }
  response.set_topic_count(static_cast<int32_t>(image.topics().size()));
  response.set_partition_count(static_cast<int32_t>(image.partition_count()));
  for (v1::HealthIssue& issue : HealthIssuesOf(image, configs)) {
    *response.add_issues() = std::move(issue);
  }
  return response;
}

}  // namespace sluice
