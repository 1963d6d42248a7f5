#include "test/sim/sim_network.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

constexpr int64_t kKeepaliveCheckUs = 250'000;
constexpr int64_t kMillion = 1'000'000;

absl::Status Gone(std::string_view why) {
  return absl::UnavailableError(AbslView(why));
}

// Of the stream itself: lost, nothing works on it; and it opens and ends once.
bool IsOfStream(MessageKind kind) {
  return kind == MessageKind::kStreamOpen || kind == MessageKind::kStreamEnd;
}

bool IsReply(MessageKind kind) { return NameOf(kind).ends_with("Reply"); }

}  // namespace

SimNetwork::SimNetwork(SimWorld* world, uint64_t seed)
    : world_(world), random_(seed), wire_(world->NewExecutor()) {}

SimNetwork::~SimNetwork() {
  // What waits holds the streams' users, who hold the streams.
  for (auto& [lane, stream] : std::exchange(streams_, {})) {
    for (SimStream::End& end : stream->ends) end.Close();
  }
}

api::Endpoint SimNetwork::EndpointOf(NodeId id) {
  return {StrCat("n", id), 1};
}

api::Endpoint SimNetwork::PublicEndpointOf(NodeId id) {
  return {StrCat("public", id), 1};
}

// ---- Processes ----

void SimNetwork::Up(LifePtr life) {
  dark_.erase(life->id);
  // A machine that is back answers packets of connections it does not know.
  for (const auto& [lane, stream] : std::map(streams_)) {
    for (const SimStream::End& end : stream->ends) {
      if (end.life->id == life->id && !end.life->alive) {
        Break(stream, Gone("connection reset: it was restarted"));
      }
    }
  }
  lives_[life->id] = std::move(life);
}

void SimNetwork::Down(const LifePtr& life, Death death) {
  // Destroyed when it is dead: what dies with it closes no stream.
  std::vector<SimStream::OnEnd> dropped;
  for (const auto& [lane, stream] : std::map(streams_)) {
    for (const Side side : {Side::kOpener, Side::kAcceptor}) {
      if (stream->end(side).life != life) continue;
      dropped.push_back(stream->end(side).Close());
      if (stream->end(Other(side)).ended) ForgetIfOver(stream);
      if (death == Death::kSilent) continue;
      Send(stream, Other(side), MessageKind::kStreamEnd, "",
           [this, stream, side](const Parcel&) {
             EndOne(stream, Other(side),
                    Gone("connection closed: the process is gone"));
           });
    }
  }
  life->alive = false;
  life->controller = nullptr;
  life->replication = nullptr;
  life->raft = nullptr;
  life->broker = nullptr;
  life->groups = nullptr;
  life->consume = nullptr;
  const auto found = lives_.find(life->id);
  if (found != lives_.end() && found->second == life) lives_.erase(found);
  if (death == Death::kSilent) {
    dark_.insert(life->id);
    StartKeepalives();
  }
}

void SimNetwork::Pause(const LifePtr& life) {
  life->hung = true;
  StartKeepalives();
}

LifePtr SimNetwork::Find(NodeId id) const {
  const auto found = lives_.find(id);
  return found == lives_.end() ? nullptr : found->second;
}

LifePtr SimNetwork::Find(const api::Endpoint& endpoint) const {
  for (const auto& [id, life] : lives_) {
    if (EndpointOf(id) == endpoint) return life;
  }
  return nullptr;
}

int64_t SimNetwork::Latency() {
  return quality_.delay_min_us +
         static_cast<int64_t>(
             random_.Below(static_cast<uint64_t>(quality_.delay_jitter_us) + 1));
}

// ---- Single messages ----

SimNetwork::FilterId SimNetwork::AddFilter(MessageFilter filter) {
  filters_.emplace(next_filter_, std::move(filter));
  return next_filter_++;
}

std::vector<Message> SimNetwork::held() const {
  std::vector<Message> messages;
  for (const auto& [sequence, held] : held_) {
    messages.push_back(held.parcel->message);
  }
  return messages;
}

void SimNetwork::Release(uint64_t sequence) {
  const auto found = held_.find(sequence);
  if (found == held_.end()) return;
  const Held held = found->second;
  held_.erase(found);
  held.parcel->held = false;
  if (!held.stream->broken && !held.stream->end(held.to).ended) {
    return Drain(held.stream, held.to);
  }
  held.parcel->stray = true;
  Deliver(held.stream, held.to, held.parcel);
}

void SimNetwork::ReleaseAll() {
  while (!held_.empty()) Release(held_.begin()->first);
}

void SimNetwork::DropHeld(uint64_t sequence) {
  const auto found = held_.find(sequence);
  if (found == held_.end()) return;
  const Held held = found->second;
  held_.erase(found);
  auto& waiting = held.stream->end(held.to).waiting;
  std::erase(waiting, held.parcel);
  Lose(held.stream, held.to, held.parcel, Verdict::Action::kDrop);
  Drain(held.stream, held.to);
}

void SimNetwork::Observe(const Message& message, Fate fate) {
  switch (fate) {
    case Fate::kSent: ++counts_.sent; break;
    case Fate::kDelivered: ++counts_.delivered; break;
    case Fate::kDuplicated: ++counts_.repeated; break;
    case Fate::kLost: ++counts_.lost; break;
    case Fate::kHeld: ++counts_.held; break;
  }
  for (const MessageObserver& observer : observers_) observer(message, fate);
}

Verdict SimNetwork::Judge(const Message& message) {
  for (auto it = filters_.rbegin(); it != filters_.rend(); ++it) {
    const auto verdict = it->second(message);
    if (verdict.has_value()) return *verdict;
  }
  const LinkQuality& quality = QualityOf(message.from, message.to);
  if (auto verdict = JudgeByChance(message, quality)) return *verdict;
  return Verdict::Deliver();
}

std::optional<Verdict> SimNetwork::JudgeByChance(const Message& message,
                                                 const LinkQuality& quality) {
  const auto one_of = [this](int32_t ppm) {
    return ppm > 0 && random_.Below(kMillion) < static_cast<uint64_t>(ppm);
  };
  if (one_of(quality.lost_ppm)) {
    return random_.OneIn(2) ? Verdict::Reset() : Verdict::Drop();
  }
  Verdict verdict;
  if (quality.delay_mean_us > 0) {
    const double chance =
        (static_cast<double>(random_.Below(kMillion)) + 1) / kMillion;
    verdict.delay_us = static_cast<int64_t>(
        -std::log(chance) * static_cast<double>(quality.delay_mean_us));
    ++counts_.delayed;
  }
  if (one_of(quality.repeated_ppm)) {
    verdict.again_after_us = random_.Between(0, quality.repeated_after_us_max);
  }
  return verdict;
}

// ---- Streams ----

StreamPtr SimNetwork::Connect(SimStream::Form form, EndDeps opener,
                              EndDeps acceptor) {
  auto stream = std::make_shared<SimStream>();
  stream->lane = next_lane_++;
  stream->form = form;
  stream->keepalive_us = kKeepaliveUs;
  const NodeId a = opener.life->id;
  const NodeId b = acceptor.life->id;
  const int64_t gone_since_us = world_->MonoMicros() - kKeepaliveUs;
  for (const auto& way : {std::pair(a, b), std::pair(b, a)}) {
    const auto cut = cuts_.find(way);
    if (cut != cuts_.end() && cut->second <= gone_since_us) {
      stream->needs_both_ways = true;
    }
  }
  stream->ends[0] = {std::move(opener.life), opener.executor,
                     std::move(opener.on_end)};
  stream->ends[1] = {std::move(acceptor.life), acceptor.executor,
                     std::move(acceptor.on_end)};
  streams_.emplace(stream->lane, stream);
  return stream;
}

void SimNetwork::Send(const StreamPtr& stream, Side to, MessageKind kind,
                      std::string bytes, Delivery deliver,
                      absl::Status status) {
  SimStream::End& end = stream->end(to);
  const Life& from = *stream->end(Other(to)).life;
  if (!from.alive || stream->broken || end.ended) return;
  const auto parcel = std::make_shared<Parcel>();
  parcel->bytes = std::move(bytes);
  parcel->deliver = std::move(deliver);
  parcel->message = {next_sequence_++,   kind, from.id,
                     end.life->id,       stream->lane,
                     world_->MonoMicros(), parcel->bytes,
                     std::move(status)};
  Observe(parcel->message, Fate::kSent);
  if (end.lost) return Observe(parcel->message, Fate::kLost);
  const Verdict verdict = Judge(parcel->message);
  if (verdict.action == Verdict::Action::kDrop ||
      verdict.action == Verdict::Action::kReset) {
    return Lose(stream, to, parcel, verdict.action);
  }
  if (verdict.action == Verdict::Action::kHold) {
    parcel->held = true;
    held_.emplace(parcel->message.sequence, Held{stream, to, parcel});
    Observe(parcel->message, Fate::kHeld);
  }
  if (verdict.again_after_us.has_value()) {
    Repeat(stream, to, parcel, *verdict.again_after_us);
  }
  const int64_t now_us = world_->MonoMicros();
  const LinkQuality& quality = QualityOf(from.id, end.life->id);
  const int64_t arrives_us = std::max(
      end.last_arrival_us,
      now_us + quality.delay_min_us + verdict.delay_us +
          static_cast<int64_t>(random_.Below(
              static_cast<uint64_t>(quality.delay_jitter_us) + 1)));
  end.last_arrival_us = arrives_us;
  ++end.in_flight;
  wire_->PostAfter(arrives_us - now_us, [this, stream, to, parcel] {
    Arrive(stream, to, parcel);
  });
}

void SimNetwork::Lose(const StreamPtr& stream, Side to,
                      const ParcelPtr& parcel, Verdict::Action action) {
  Observe(parcel->message, Fate::kLost);
  if (action == Verdict::Action::kReset) {
    ++counts_.reset;
    return Break(stream, Gone("connection reset"));
  }
  if (stream->form != SimStream::Form::kStream &&
      !IsOfStream(parcel->message.kind)) {
    return;
  }
  stream->end(to).lost = true;
  StartKeepalives();
}

void SimNetwork::Repeat(const StreamPtr& stream, Side to,
                        const ParcelPtr& parcel, int64_t after_us) {
  const bool may_repeat =
      (stream->form == SimStream::Form::kLossy &&
       !IsOfStream(parcel->message.kind)) ||
      (stream->form == SimStream::Form::kUnary &&
       !IsReply(parcel->message.kind));
  if (!may_repeat) return;
  const auto copy = std::make_shared<Parcel>(*parcel);
  copy->message.bytes = copy->bytes;
  copy->held = false;
  copy->stray = true;
  wire_->PostAfter(after_us + Latency(), [this, stream, to, copy] {
    if (IsBlocked(*stream, copy->message.from, copy->message.to)) return;
    Deliver(stream, to, copy);
  });
}

void SimNetwork::Arrive(const StreamPtr& stream, Side to,
                        const ParcelPtr& parcel) {
  SimStream::End& end = stream->end(to);
  --end.in_flight;
  if (parcel->held && !held_.contains(parcel->message.sequence)) {
    return ForgetIfOver(stream);  // dropped before it came
  }
  if (stream->broken || end.ended || end.lost) {
    if (!parcel->held) Observe(parcel->message, Fate::kLost);
    return ForgetIfOver(stream);
  }
  end.waiting.push_back(parcel);
  Drain(stream, to);
}

void SimNetwork::Drain(const StreamPtr& stream, Side to) {
  SimStream::End& end = stream->end(to);
  while (!end.waiting.empty()) {
    const ParcelPtr parcel = end.waiting.front();
    if (parcel->held) return;
    if (IsBlocked(*stream, parcel->message.from, parcel->message.to)) {
      ++counts_.stalled;
      return StartKeepalives();
    }
    end.waiting.pop_front();
    Deliver(stream, to, parcel);
  }
  ForgetIfOver(stream);
}

void SimNetwork::Deliver(const StreamPtr& stream, Side to,
                         const ParcelPtr& parcel) {
  SimStream::End& end = stream->end(to);
  if (!end.life->alive) return Observe(parcel->message, Fate::kLost);
  Observe(parcel->message,
          parcel->stray ? Fate::kDuplicated : Fate::kDelivered);
  end.executor->Post([life = end.life, parcel] {
    if (life->alive) parcel->deliver(*parcel);
  });
}

void SimNetwork::EndOne(const StreamPtr& stream, Side side,
                        const absl::Status& why) {
  if (stream->end(side).ended) return;
  const auto on_end = stream->end(side).Close();
  ForgetIfOver(stream);
  if (on_end) on_end(why);
}

void SimNetwork::Break(const StreamPtr& stream, const absl::Status& why) {
  if (std::exchange(stream->broken, true)) return;
  for (const Side side : {Side::kOpener, Side::kAcceptor}) {
    SimStream::End& end = stream->end(side);
    if (end.ended || !end.life->alive) continue;
    const auto dropped = std::exchange(end.waiting, {});
    end.executor->PostAfter(Latency(), [this, stream, side, why] {
      if (stream->end(side).life->alive) EndOne(stream, side, why);
    });
  }
  ForgetIfOver(stream);
}

void SimNetwork::CloseEnd(const StreamPtr& stream, Side side) {
  const auto dropped = stream->end(side).Close();
  ForgetIfOver(stream);
}

// Of a call that was answered or given up its callee hears no more.
void SimNetwork::ForgetIfOver(const StreamPtr& stream) {
  const SimStream::End& opener = stream->ends[0];
  SimStream::End& acceptor = stream->ends[1];
  if (!opener.ended) return;
  const bool is_idle = stream->form == SimStream::Form::kUnary &&
                       opener.life->alive && !acceptor.lost &&
                       acceptor.in_flight == 0 && acceptor.waiting.empty();
  if (!acceptor.ended && !is_idle) return;
  streams_.erase(stream->lane);
  const auto dropped = acceptor.Close();
}

// ---- Obstacles ----

bool SimNetwork::IsBlocked(const SimStream& stream, NodeId a, NodeId b) const {
  return dark_.contains(a) || dark_.contains(b) || !Reaches(a, b) ||
         (stream.needs_both_ways && !Reaches(b, a));
}

bool SimNetwork::IsSilent(const SimStream& stream) const {
  const SimStream::End& a = stream.ends[0];
  const SimStream::End& b = stream.ends[1];
  return a.lost || b.lost || a.life->hung || b.life->hung ||
         IsBlocked(stream, a.life->id, b.life->id) ||
         IsBlocked(stream, b.life->id, a.life->id);
}

void SimNetwork::DrainAll() {
  for (const auto& [lane, stream] : std::map(streams_)) {
    for (const Side side : {Side::kOpener, Side::kAcceptor}) {
      Drain(stream, side);
    }
  }
}

void SimNetwork::StartKeepalives() {
  if (std::exchange(watching_, true)) return;
  wire_->PostAfter(kKeepaliveCheckUs, [this] { CheckKeepalives(); });
}

void SimNetwork::CheckKeepalives() {
  watching_ = false;
  const int64_t now_us = world_->MonoMicros();
  bool any = !cuts_.empty() || !dark_.empty();
  for (const auto& [lane, stream] : std::map(streams_)) {
    if (stream->broken) continue;
    if (!IsSilent(*stream)) {
      stream->silent_since_us = -1;
      continue;
    }
    any = true;
    if (stream->silent_since_us < 0) stream->silent_since_us = now_us;
    if (now_us - stream->silent_since_us < stream->keepalive_us) continue;
    ++counts_.keepalive_expired;
    Break(stream, Gone("keepalive timed out"));
  }
  if (any) StartKeepalives();
}

}  // namespace sluice::sim
