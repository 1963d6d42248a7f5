#include "test/sim/stream_producer.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "test/sim/sim_client.h"

namespace sluice::sim {
namespace {

// A stream that is silent is given up by then, and its requests with it.
constexpr int64_t kAnsweredUs =
    SimNetwork::kDataKeepaliveUs + StreamProducer::kTimeoutMs * 2'000;

NamedPartition NameOf(const api::ProduceResult& result) {
  return {result.topic.name, result.partition};
}

}  // namespace

StreamProducer::StreamProducer(Deps deps)
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
}

StreamProducer::~StreamProducer() { deps_.cluster->network().Down(life_); }

void StreamProducer::Start() {
  for (const NamedPartition& tp : deps_.partitions) metadata_->Follow(tp.topic);
  SendSome();
}

// ---- Requests ----

void StreamProducer::SendSome() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * deps_.plan.send_every_us),
                       [this] { SendSome(); });
  const int64_t count = random_.Between(1, deps_.plan.in_flight_max);
  for (int64_t i = 0; i < count; ++i) SendOne();
}

// One or two partitions of one leader, if it is not behind with its answers.
void StreamProducer::SendOne() {
  api::ProduceStreamRequest frame;
  Request open;
  api::Endpoint to;
  const auto& all = deps_.partitions;
  for (int i = 0; i < 2; ++i) {
    const NamedPartition& tp = all[random_.Below(all.size())];
    if (open.open.contains(tp)) continue;
    AddPartition(tp, frame.request, open, to);
  }
  if (open.open.empty()) return;
  Stream& stream = StreamTo(to);
  frame.correlation_id = next_request_++;
  frame.request.acks = -1;
  frame.request.timeout_ms = kTimeoutMs;
  if (deps_.plan.forwards) frame.request.route = api::Route::kForward;
  open.call = deps_.calls->Begin(
      StrCat("request ", frame.correlation_id, " of stream producer ",
             deps_.number),
      kAnsweredUs);
  for (const auto& [tp, asked] : open.open) {
    stream.order[tp].push_back(frame.correlation_id);
  }
  stream.requests.emplace(frame.correlation_id, std::move(open));
  stream.sender->Send(std::move(frame));
}

// False: another leader's, or nobody's, or there are as many in flight as may
// be.
bool StreamProducer::AddPartition(const NamedPartition& tp,
                                  api::ProduceRequest& request, Request& open,
                                  api::Endpoint& to) {
  const auto leader = metadata_->LeaderOf(tp);
  if (!leader.has_value()) {
    metadata_->Refresh();
    return false;
  }
  const api::Endpoint at = deps_.plan.forwards
                               ? SimNetwork::PublicEndpointOf(gateway_)
                               : leader->endpoint;
  if (!open.open.empty() && at != to) return false;
  const auto stream = streams_.find(at);
  if (stream != streams_.end() &&
      static_cast<int>(stream->second.requests.size()) >=
          deps_.plan.in_flight_max) {
    return false;
  }
  to = at;
  Asked& asked = open.open[tp];
  asked.epoch = leader->leader_epoch;
  api::ProducePartition partition;
  partition.topic.name = tp.topic;
  partition.partition = tp.partition;
  partition.leader_epoch = leader->leader_epoch;
  std::vector<api::Record> records;
  const int64_t count = random_.Between(1, deps_.plan.records_max);
  for (int64_t i = 0; i < count; ++i) {
    const RecordName name{deps_.number, next_record_++};
    api::Record& record = records.emplace_back();
    record.key = name.ToString();
    record.value = name.Value(deps_.record_bytes);
    deps_.on_sent(tp, name, *record.value);
    asked.names.push_back(name);
  }
  partition.payload = std::move(records);
  request.partitions.push_back(std::move(partition));
  return true;
}

StreamProducer::Stream& StreamProducer::StreamTo(const api::Endpoint& to) {
  Stream& stream = streams_[to];
  if (stream.sender != nullptr) return stream;
  const uint64_t number = stream.number = next_stream_++;
  ProduceStreamEvents events;
  events.on_frame = [this, to, number](
                        const api::ProduceStreamResponse& answer) {
    OnAnswer(to, number, answer);
  };
  events.on_closed = [this, to, number](const absl::Status&) {
    OnClosed(to, number);
  };
  stream.sender = streams_to_->Connect(to, executor_.get())
                      ->OpenProduceStream("", std::move(events));
  return stream;
}

// ---- Answers ----

void StreamProducer::OnAnswer(const api::Endpoint& to, uint64_t number,
                              const api::ProduceStreamResponse& answer) {
  const auto found = streams_.find(to);
  if (found == streams_.end() || found->second.number != number) return;
  Stream& stream = found->second;
  const int64_t id = answer.correlation_id;
  const auto request = stream.requests.find(id);
  if (request == stream.requests.end()) {
    return deps_.report(StrCat("UNASKED: stream producer ", deps_.number,
                               " was answered request ", id,
                               ", which is not open"));
  }
  if (!answer.error.ok()) OnRefused(stream, id, request->second, answer.error);
  for (const api::ProduceResult& result : answer.results) {
    OnResult(stream, id, request->second, result);
  }
  if (!answer.complete) return;
  if (!request->second.open.empty()) {
    deps_.report(StrCat("UNANSWERED: request ", id, " of stream producer ",
                        deps_.number, " is complete without ",
                        request->second.open.begin()->first));
  }
  deps_.calls->End(request->second.call);
  stream.requests.erase(request);
}

void StreamProducer::OnResult(Stream& stream, int64_t id, Request& request,
                              const api::ProduceResult& result) {
  const NamedPartition tp = NameOf(result);
  const auto asked = request.open.find(tp);
  std::deque<int64_t>& order = stream.order[tp];
  if (asked == request.open.end() || order.empty() || order.front() != id) {
    return deps_.report(StrCat(
        "UNORDERED: stream producer ", deps_.number, " was answered ", tp,
        " of request ", id, " where that of request ",
        order.empty() ? 0 : order.front(), " was next"));
  }
  order.pop_front();
  if (result.error.ok()) {
    deps_.on_produced(result, asked->second.epoch);
    const auto last = stream.last.find(tp);
    if (last != stream.last.end() && last->second >= result.base_offset) {
      deps_.report(StrCat("REORDER: request ", id, " of stream producer ",
                          deps_.number, " lies in ", tp, " at ",
                          result.base_offset, ", one before it at ",
                          last->second));
    }
    stream.last[tp] = result.base_offset;
    Settle(tp, asked->second, result.base_offset);
  } else {  // it may be in the log, also later
    if (result.leader.has_value()) metadata_->Learn(tp, *result.leader);
    metadata_->Suspect(tp, asked->second.epoch);
    Settle(tp, asked->second,
           MakeError(ErrorCode::kOutcomeUnknown, result.error.message));
  }
  request.open.erase(asked);
}

// Nothing of it is appended.
void StreamProducer::OnRefused(Stream& stream, int64_t id, Request& request,
                               const api::ItemError& error) {
  for (const auto& [tp, asked] : request.open) {
    std::erase(stream.order[tp], id);
    Settle(tp, asked, MakeError(error.code, error.message));
  }
  request.open.clear();
}

void StreamProducer::Settle(const NamedPartition& tp, const Asked& asked,
                            const absl::StatusOr<Offset>& base) {
  for (size_t i = 0; i < asked.names.size(); ++i) {
    if (!base.ok()) {
      deps_.on_settled(tp, asked.names[i], base.status());
      continue;
    }
    deps_.on_settled(tp, asked.names[i],
                     Offset(base->value() + static_cast<int64_t>(i)));
  }
}

void StreamProducer::OnClosed(const api::Endpoint& to, uint64_t number) {
  const auto found = streams_.find(to);
  if (found == streams_.end() || found->second.number != number) return;
  Stream gone = std::move(found->second);
  streams_.erase(found);
  gateway_ = NodeId(static_cast<int32_t>(
      random_.Between(1, deps_.cluster->broker_count())));
  for (const auto& [id, request] : gone.requests) {
    for (const auto& [tp, asked] : request.open) {
      Settle(tp, asked, MakeError(ErrorCode::kOutcomeUnknown, "the stream broke"));
      metadata_->Suspect(tp, asked.epoch);
    }
    deps_.calls->End(request.call);
  }
  // Its own end is what is running.
  executor_->Post([sender = std::move(gone.sender)] {});
}

}  // namespace sluice::sim
