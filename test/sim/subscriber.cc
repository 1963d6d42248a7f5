#include "test/sim/subscriber.h"

#include <algorithm>
#include <utility>

#include "client/status_kinds.h"
#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "test/sim/sim_client.h"

namespace sluice::sim {

void SubscriberCounts::Add(const SubscriberCounts& other) {
  pushes += other.pushes;
  from_followers += other.from_followers;
  sent_nearer += other.sent_nearer;
  errors += other.errors;
  streams_broken += other.streams_broken;
  moved += other.moved;
  out_of_credit += other.out_of_credit;
  out_of_range += other.out_of_range;
}

Subscriber::Subscriber(Deps deps)
    : deps_(std::move(deps)),
      life_(std::make_shared<Life>()),
      random_(deps_.cluster->random().Next64()),
      executor_(deps_.cluster->world().NewExecutor()) {
  SimCluster& cluster = *deps_.cluster;
  life_->id = NodeId(kFirstClientId + cluster.NextClient());
  life_->clock = &cluster.world();
  connector_ = cluster.network().MakeBrokerConnector(life_);
  streams_to_ = cluster.network().MakeLeaderConnector(life_);
  client_deps_.executor = executor_.get();
  client_deps_.clock = &cluster.world();
  client_deps_.connector = connector_.get();
  client_deps_.seed = random_.Next64();
  for (int id = 1; id <= cluster.broker_count(); ++id) {
    options_.bootstrap.push_back(SimNetwork::PublicEndpointOf(NodeId(id)));
  }
  metadata_ = std::make_unique<MetadataCache>(client_deps_, options_);
  gateway_ =
      NodeId(static_cast<int32_t>(random_.Between(1, cluster.broker_count())));
  for (const NamedPartition& tp : deps_.partitions) places_[tp] = Place();
}

Subscriber::~Subscriber() {
  Stop();
  deps_.cluster->network().Down(life_);
}

void Subscriber::Start() {
  observed_ = metadata_->Observe([this] { OnMetadata(); });
  for (const auto& [tp, place] : places_) metadata_->Follow(tp.topic);
  for (const auto& [tp, place] : places_) SeekLater(tp);
  if (deps_.plan.restless_every_us > 0) BeRestless();
}

void Subscriber::Hurry() {
  hurries_ = true;
}

void Subscriber::Stop() {
  stopped_ = true;
  for (auto& [id, stream] : std::exchange(streams_, {})) stream.sender->Close();
}

// ---- Whom to ask ----

void Subscriber::SeekLater(const NamedPartition& tp) {
  if (stopped_ || std::exchange(places_[tp].waits, true)) return;
  executor_->PostAfter(random_.Between(1, 2 * kAgainUs), [this, tp] {
    places_[tp].waits = false;
    Seek(tp);
  });
}

void Subscriber::Seek(const NamedPartition& tp) {
  Place& place = places_[tp];
  if (stopped_ || place.stream != 0) return;
  api::Endpoint to;
  bool near = false;
  if (!Target(tp, place, to, near)) return SeekLater(tp);
  Ask(tp, to, near);
}

// False: nobody is known now.
bool Subscriber::Target(const NamedPartition& tp, Place& place,
                        api::Endpoint& to, bool& near) {
  if (deps_.plan.forwards) {
    to = SimNetwork::PublicEndpointOf(gateway_);
    return true;
  }
  const auto leader = metadata_->LeaderOf(tp);
  if (!leader.has_value()) {
    metadata_->Refresh();
    return false;
  }
  to = leader->endpoint;
  place.epoch = leader->leader_epoch;
  near = !deps_.plan.rack.empty() &&
         client_deps_.clock->MonoMicros() >= place.at_leader_until_us;
  return true;
}

void Subscriber::Ask(const NamedPartition& tp, const api::Endpoint& to,
                     bool near, Offset from) {
  Place& place = places_[tp];
  place.stream = StreamTo(tp, to, near);
  place.since_us = client_deps_.clock->MonoMicros();
  Stream& stream = streams_.at(place.stream);
  api::SubscribeRequest request;
  api::SubscribePartition asked;
  asked.topic.name = tp.topic;
  asked.partition = tp.partition;
  if (place.epoch >= LeaderEpoch(0)) asked.leader_epoch = place.epoch;
  if (place.next > Offset(0) && !place.from_start) asked.start = place.next;
  // Which offset the log begins at is the leader's to say.
  if (from != kNoOffset) asked.start = from;
  request.partitions.push_back(std::move(asked));
  if (!std::exchange(stream.said, true)) {
    request.form = deps_.plan.form;
    if (deps_.plan.forwards) request.route = api::Route::kForward;
    if (near) request.rack = deps_.plan.rack;
    request.credit_bytes = stream.credit = deps_.plan.credit_bytes;
    stream.credit_since_us = place.since_us;
  }
  stream.sender->Send(std::move(request));
}

// What was pushed before a partition was left, and comes when it was joined
// again, cannot be told from what comes for that: nothing must lie between.
Subscriber::StreamId Subscriber::StreamTo(const NamedPartition& tp,
                                          const api::Endpoint& to, bool near) {
  for (const auto& [id, stream] : streams_) {
    if (stream.endpoint == to && stream.near == near &&
        !stream.missed.contains(tp)) {
      return id;
    }
  }
  const StreamId id = next_stream_++;
  Stream& stream = streams_[id];
  stream.endpoint = to;
  stream.near = near;
  SubscribeEvents events;
  events.on_frame = [this, id](api::SubscribeResponse response) {
    OnMessage(id, response);
  };
  events.on_closed = [this, id](absl::Status why) { OnClosed(id, why); };
  stream.sender = streams_to_->Connect(to, executor_.get())
                      ->OpenSubscription("", std::move(events));
  return id;
}

void Subscriber::Leave(const NamedPartition& tp, bool tell) {
  const StreamId id = std::exchange(places_[tp].stream, 0);
  const auto found = streams_.find(id);
  if (!tell || found == streams_.end()) return;
  api::SubscribeRequest request;
  api::SubscribePartition asked;
  asked.topic.name = tp.topic;
  asked.partition = tp.partition;
  request.stop.push_back(std::move(asked));
  found->second.sender->Send(std::move(request));
}

// A leader that is not told of its end pushes on, or says nothing.
void Subscriber::OnMetadata() {
  if (stopped_ || deps_.plan.forwards) return;
  for (auto& [tp, place] : places_) {
    if (place.stream == 0) continue;
    const auto leader = metadata_->LeaderOf(tp);
    if (!leader.has_value() || leader->leader_epoch <= place.epoch) continue;
    place.epoch = leader->leader_epoch;
    if (streams_.at(place.stream).endpoint == leader->endpoint) continue;
    ++deps_.counts->moved;
    Leave(tp, /*tell=*/true);
    SeekLater(tp);
  }
}

void Subscriber::BeRestless() {
  if (stopped_ || hurries_) return;
  executor_->PostAfter(random_.Between(1, 2 * deps_.plan.restless_every_us),
                       [this] { BeRestless(); });
  const auto& all = deps_.partitions;
  const NamedPartition& tp = all[random_.Below(all.size())];
  const StreamId id = places_[tp].stream;
  if (id == 0) return;
  if (random_.OneIn(4)) {
    streams_.at(id).sender->Close();
    return OnClosed(id, absl::OkStatus());
  }
  // Some in one breath: what was pushed before comes as if it were after.
  Leave(tp, /*tell=*/!random_.OneIn(4));
  Seek(tp);
}

// ---- What brokers say ----

void Subscriber::OnMessage(StreamId id,
                           const api::SubscribeResponse& response) {
  const auto found = streams_.find(id);
  if (stopped_ || found == streams_.end()) return;
  const api::FetchResult& result = response.result;
  const NamedPartition tp{result.topic.name, result.partition};
  const auto place = places_.find(tp);
  if (place == places_.end()) {
    return deps_.report(StrCat("PHANTOM: subscriber ", deps_.number,
                               " was pushed ", tp,
                               ", which it has not asked for"));
  }
  Stream& stream = found->second;
  if (!result.batches.empty() || !result.records.empty()) {
    OnData(id, stream, response, tp);
  }
  if (place->second.stream != id) return;  // stopped meanwhile
  if (!result.error.ok()) {
    ++deps_.counts->errors;
    Leave(tp, /*tell=*/false);
    return OnError(tp, stream.near, result);
  }
  if (result.preferred_replica.value() <= 0) return;
  OnNearer(tp, stream.near, result);
}

void Subscriber::OnNearer(const NamedPartition& tp, bool asked_for,
                          const api::FetchResult& result) {
  ++deps_.counts->sent_nearer;
  Leave(tp, /*tell=*/false);
  if (!asked_for) {
    return deps_.report(StrCat("subscriber ", deps_.number,
                               " has said no rack, and was sent to replica ",
                               result.preferred_replica));
  }
  if (result.preferred_endpoint.port != 0) {
    return Ask(tp, result.preferred_endpoint, /*near=*/true,
               result.next_offset);
  }
  ReadLeader(places_[tp]);  // nobody can go there
  SeekLater(tp);
}

void Subscriber::ReadLeader(Place& place) {
  place.at_leader_until_us = client_deps_.clock->MonoMicros() + kLeaderUs;
}

void Subscriber::OnData(StreamId id, Stream& stream,
                        const api::SubscribeResponse& response,
                        const NamedPartition& tp) {
  ++deps_.counts->pushes;
  const api::FetchResult& result = response.result;
  // The balance goes below zero by one push.
  if (stream.credit <= 0) {
    deps_.report(StrCat("CREDIT: subscriber ", deps_.number, " was pushed ",
                        response.charged_bytes, " bytes of ", tp,
                        " with a credit of ", stream.credit));
  }
  stream.credit -= response.charged_bytes;
  stream.owed += response.charged_bytes;
  Place& place = places_[tp];
  const bool leads = result.log_start_offset != kNoOffset;
  if (!leads) ++deps_.counts->from_followers;
  if (place.stream == id) {
    Push push{tp, place.next, &result, -1};
    // Through another broker it was read some time since the question; of a
    // stream that this one has left and joined again, before it.
    const bool known = leads && !deps_.plan.forwards;
    if (known) push.began_us = stream.credit_since_us;
    const Offset next = deps_.on_push(push);
    if (next > place.next) place.from_start = false;
    place.next = next;
  } else {
    stream.missed.insert(tp);
  }
  if (stream.credit <= 0) ++deps_.counts->out_of_credit;
  if (std::exchange(stream.gives, true)) return;
  executor_->PostAfter(
      deps_.plan.slow_us == 0 || hurries_
          ? 0
          : random_.Between(0, deps_.plan.slow_us),
      [this, id] { GiveCredit(id); });
}

void Subscriber::GiveCredit(StreamId id) {
  const auto found = streams_.find(id);
  if (stopped_ || found == streams_.end()) return;
  Stream& stream = found->second;
  stream.gives = false;
  if (stream.credit <= 0) {
    stream.credit_since_us = client_deps_.clock->MonoMicros();
  }
  api::SubscribeRequest request;
  request.credit_bytes = std::exchange(stream.owed, 0);
  stream.credit += request.credit_bytes;
  stream.sender->Send(std::move(request));
}

// Where it was pushed to, near or not, is known by the stream.
void Subscriber::OnError(const NamedPartition& tp, bool near,
                         const api::FetchResult& result) {
  Place& place = places_[tp];
  const ErrorCode code = result.error.code;
  if (near) ReadLeader(place);
  if (result.leader.has_value()) metadata_->Learn(tp, *result.leader);
  metadata_->Suspect(tp, place.epoch);
  SeekLater(tp);
  if (code == ErrorCode::kOffsetOutOfRange) {
    if (!near) OnOutOfRange(tp);  // else the leader may say so
  } else if (!IsRetriable(code)) {
    deps_.report(StrCat("REFUSED: subscriber ", deps_.number, " of ", tp, ": ",
                        result.error.message));
  }
}

// The epoch that it named is its metadata's: a leader deposed since then, which
// has not heard of it, says so of what its successor pushed. Then it is asked
// again.
void Subscriber::OnOutOfRange(const NamedPartition& tp) {
  ++deps_.counts->out_of_range;
  Place& place = places_[tp];
  const auto next = deps_.on_out_of_range(tp, place.next);
  if (!next.has_value()) return;
  place.next = *next;
  place.from_start = true;
}

void Subscriber::OnClosed(StreamId id, const absl::Status& why) {
  const auto found = streams_.find(id);
  if (stopped_ || found == streams_.end()) return;
  if (!why.ok()) ++deps_.counts->streams_broken;
  if (!why.ok() && !IsRetriableStatus(why)) {
    deps_.report(StrCat("REFUSED: a stream of subscriber ", deps_.number, ": ",
                        why.ToString()));
  }
  const bool near = found->second.near;
  // Its own end may be what is running.
  executor_->Post([sender = std::move(found->second.sender)] {});
  streams_.erase(found);
  gateway_ = NodeId(
      static_cast<int32_t>(random_.Between(1, deps_.cluster->broker_count())));
  for (auto& [tp, place] : places_) {
    if (place.stream != id) continue;
    place.stream = 0;
    if (near) ReadLeader(place);
    if (!why.ok()) metadata_->Suspect(tp, place.epoch);
    SeekLater(tp);
  }
}

}  // namespace sluice::sim
