#include "test/sim/metadata_watcher.h"

#include <algorithm>
#include <utility>

#include "common/base/str_cat.h"
#include "test/sim/sim_client.h"

namespace sluice::sim {
namespace {

constexpr int64_t kAgainUs = 100'000;

template <class Ids>
bool AreSame(const std::vector<NodeId>& want, const Ids& got) {
  return std::equal(want.begin(), want.end(), got.begin(), got.end(),
                    [](NodeId a, int32_t b) { return a.value() == b; });
}

}  // namespace

MetadataWatcher::MetadataWatcher(Deps deps)
    : deps_(std::move(deps)),
      life_(std::make_shared<Life>()),
      random_(deps_.cluster->random().Next64()),
      executor_(deps_.cluster->world().NewExecutor()) {
  life_->id = NodeId(kFirstClientId + deps_.cluster->NextClient());
  life_->clock = &deps_.cluster->world();
  connector_ = deps_.cluster->network().MakeBrokerConnector(life_);
}

MetadataWatcher::~MetadataWatcher() { deps_.cluster->network().Down(life_); }

void MetadataWatcher::Start() { Open(); }

void MetadataWatcher::Open() {
  const NodeId at(static_cast<int32_t>(
      random_.Between(1, deps_.cluster->broker_count())));
  const uint64_t number = ++number_;
  offset_ = -1;
  in_image_ = false;
  MetadataWatchEvents events;
  events.on_frame = [this, number](const v1::WatchMetadataResponse& told) {
    if (number == number_) OnTold(told);
  };
  events.on_closed = [this, number](const absl::Status&) {
    if (number == number_) OpenLater();
  };
  watch_ = connector_->Connect(SimNetwork::PublicEndpointOf(at),
                               executor_.get())
               ->OpenMetadataWatch(std::move(events));
  v1::WatchMetadataRequest request;
  request.set_include_internal(true);
  watch_->Send(std::move(request));
  executor_->PostAfter(random_.Between(1, 2 * deps_.move_every_us),
                       [this, number] {
                         if (number == number_ && !settled_) Open();
                       });
}

void MetadataWatcher::OpenLater() {
  const uint64_t number = ++number_;
  // Its own end is what is running.
  executor_->Post([watch = std::exchange(watch_, nullptr)] {});
  executor_->PostAfter(random_.Between(1, 2 * kAgainUs), [this, number] {
    if (number == number_) Open();
  });
}

void MetadataWatcher::OnTold(const v1::WatchMetadataResponse& told) {
  const bool is_image = told.kind() == v1::WatchMetadataResponse::KIND_IMAGE;
  const bool goes_on = in_image_ && !told.first();
  if (told.metadata_offset() < offset_ || (!is_image && in_image_) ||
      (is_image && !goes_on && !told.first())) {
    return deps_.report(StrCat(
        "MD2: a watch was told of offset ", told.metadata_offset(), " after ",
        offset_, in_image_ ? ", in the middle of an image: " : ": ",
        told.ShortDebugString()));
  }
  offset_ = told.metadata_offset();
  if (!is_image) return Fold(told, known_);
  if (told.first()) image_ = Known();
  Fold(told, image_);
  in_image_ = !told.complete();
  if (told.complete()) known_ = std::exchange(image_, Known());
}

void MetadataWatcher::Fold(const v1::WatchMetadataResponse& told, Known& into) {
  for (const v1::Broker& broker : told.brokers()) into.brokers.insert(broker.id());
  for (const int32_t id : told.removed_broker_ids()) into.brokers.erase(id);
  for (const v1::RemovedTopic& gone : told.removed_topics()) {
    const auto found = into.topics.find(gone.name());
    if (found != into.topics.end() && found->second.id == gone.id()) {
      into.topics.erase(found);
    }
  }
  for (const v1::TopicMetadata& topic : told.topics()) {
    Topic& known = into.topics[topic.name()];
    if (known.id != topic.id()) known = {topic.id(), {}};
    for (const v1::PartitionMetadata& partition : topic.partitions()) {
      known.partitions[partition.partition()] = partition;
    }
  }
}

std::string MetadataWatcher::WhyDiffers(const TopicImage& want,
                                        const Topic& got) {
  if (got.id != want.id.ToBytes()) return "is another topic";
  if (got.partitions.size() != want.partitions.size()) {
    return StrCat("has ", got.partitions.size(), " of ",
                  want.partitions.size(), " partitions");
  }
  for (const auto& [index, partition] : want.partitions) {
    const auto found = got.partitions.find(index.value());
    if (found == got.partitions.end()) {
      return StrCat("has no partition ", index);
    }
    const v1::PartitionMetadata& told = found->second;
    if (told.leader_id() == partition->leader.value() &&
        told.leader_epoch() == partition->leader_epoch.value() &&
        told.partition_epoch() == partition->partition_epoch.value() &&
        AreSame(partition->replicas, told.replicas()) &&
        AreSame(partition->isr, told.isr())) {
      continue;
    }
    return StrCat("has partition ", index, " as ", told.ShortDebugString(),
                  ", which has leader ", partition->leader, " epoch ",
                  partition->leader_epoch, " partition epoch ",
                  partition->partition_epoch.value());
  }
  return "";
}

std::string MetadataWatcher::WhyDiffers(const MetadataImage& image) const {
  if (known_.topics.size() != image.topics().size()) {
    return StrCat("who watches knows ", known_.topics.size(), " of ",
                  image.topics().size(), " topics");
  }
  for (const auto& [id, topic] : image.topics()) {
    const auto found = known_.topics.find(topic->name);
    const std::string why = found == known_.topics.end()
                                ? "is not known"
                                : WhyDiffers(*topic, found->second);
    if (!why.empty()) return StrCat("to who watches ", topic->name, " ", why);
  }
  for (const auto& [id, broker] : image.brokers()) {
    if (!broker->fenced == known_.brokers.contains(id.value())) continue;
    return StrCat("to who watches broker ", id,
                  !broker->fenced ? " is not there" : " is there");
  }
  return "";
}

}  // namespace sluice::sim
