#include "controller/raft/bootstrap_core.h"

#include <algorithm>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice::raft {

BootstrapCore::BootstrapCore(const BootstrapConfig& config,
                             std::optional<BootstrapRecord> record,
                             Random& random)
    : config_(config),
      random_(random),
      state_(record.has_value() ? State::kDone : State::kEmpty),
      record_(std::move(record)) {
  INVARIANT(config_.self.node.value() > 0 && config_.self.directory.is_set(),
            "bootstrap of ", config_.self);
}

BootstrapActions BootstrapCore::Start() {
  BootstrapActions out;
  if (done()) {
    out.done = record_;
    Offer(out);
    return out;
  }
  Probe(out);
  MaybeForm(out);
  return out;
}

BootstrapActions BootstrapCore::Tick() {
  BootstrapActions out;
  if (++ticks_ < config_.retry_ticks) return out;
  ticks_ = 0;
  if (state_ == State::kEmpty) Probe(out);
  if (state_ == State::kDone) Offer(out);
  return out;
}

BootstrapActions BootstrapCore::Persisted() {
  INVARIANT(state_ == State::kWriting, "no record was being written");
  BootstrapActions out;
  state_ = State::kDone;
  out.done = record_;
  Offer(out);
  return out;
}

void BootstrapCore::Heard(const VoterId& from) {
  if (record_.has_value() && record_->Names(from)) {
    confirmed_.insert(from.node);
  }
}

Message BootstrapCore::To(NodeId to, MessageType type) const {
  Message message;
  message.type = type;
  message.from = config_.self;
  message.to.node = to;
  // A record that is still being written may yet be lost.
  if (done()) message.cluster_id = record_->cluster_id;
  return message;
}

bool BootstrapCore::SameInitial(const BootstrapRecord& theirs) const {
  std::set<NodeId> mine;
  std::set<NodeId> other;
  for (const BootstrapVoter& voter : config_.initial) mine.insert(voter.id);
  for (const BootstrapVoter& voter : theirs.voters) other.insert(voter.id);
  return mine == other;
}

bool BootstrapCore::IsLowest() const {
  // A controller that is not initial never makes a cluster.
  const auto lowest = std::min_element(
      config_.initial.begin(), config_.initial.end(),
      [](const auto& a, const auto& b) { return a.id < b.id; });
  return lowest != config_.initial.end() && lowest->id == config_.self.node;
}

void BootstrapCore::Probe(BootstrapActions& out) {
  BootstrapRecord configured;
  configured.voters = config_.initial;
  for (const BootstrapVoter& voter : config_.initial) {
    if (voter.id == config_.self.node) continue;
    Message probe = To(voter.id, MessageType::kBootstrapProbe);
    probe.bootstrap = configured;
    out.messages.push_back(std::move(probe));
  }
}

void BootstrapCore::Offer(BootstrapActions& out) {
  // An observer's word is not needed: voters offer.
  if (!record_->Names(config_.self)) return;
  for (const BootstrapVoter& voter : record_->voters) {
    if (voter.id == config_.self.node || confirmed_.count(voter.id) > 0) {
      continue;
    }
    Message offer = To(voter.id, MessageType::kBootstrapOffer);
    offer.bootstrap = record_;
    out.messages.push_back(std::move(offer));
  }
}

void BootstrapCore::Accept(const BootstrapRecord& record,
                           BootstrapActions& out) {
  state_ = State::kWriting;
  record_ = record;
  out.persist = record;
}

void BootstrapCore::MaybeForm(BootstrapActions& out) {
  if (state_ != State::kEmpty || !IsLowest()) return;
  BootstrapRecord record;
  for (const BootstrapVoter& voter : config_.initial) {
    BootstrapVoter named = voter;
    if (voter.id == config_.self.node) {
      named.directory = config_.self.directory;
    } else {
      const auto known = empty_.find(voter.id);
      if (known == empty_.end()) return;  // it may hold a record
      named.directory = known->second;
    }
    record.voters.push_back(std::move(named));
  }
  std::sort(record.voters.begin(), record.voters.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  record.cluster_id = ClusterId(random_.NextUuid());
  record.salt = random_.NextUuid();
  Accept(record, out);
}

BootstrapActions BootstrapCore::Step(const Message& m) {
  BootstrapActions out;
  if (m.from.node.value() <= 0 || !m.from.directory.is_set() ||
      m.from.node == config_.self.node) {
    return out;
  }
  if (m.bootstrap.has_value() &&
      (m.bootstrap->voters.empty() ||
       m.bootstrap->voters.size() > BootstrapConfig::kVotersMax)) {
    return out;
  }
  switch (m.type) {
    case MessageType::kBootstrapProbe: StepProbe(m, out); break;
    case MessageType::kBootstrapAnswer: StepAnswer(m, out); break;
    case MessageType::kBootstrapOffer: StepOffer(m, out); break;
    case MessageType::kBootstrapAck:
      // Whatever it says, it will not change: it has a record.
      if (done()) confirmed_.insert(m.from.node);
      if (done() && m.reject) {
        out.complaint = StrCat(
            "controller ", m.from.node,
            m.cluster_id == record_->cluster_id
                ? " has another disk than the one that votes; it observes"
                : StrCat(" is of another cluster, ", m.cluster_id));
      }
      break;
    default: break;
  }
  if (out.complaint == last_complaint_) {
    out.complaint.clear();
  } else if (!out.complaint.empty()) {
    last_complaint_ = out.complaint;
  }
  return out;
}

void BootstrapCore::StepProbe(const Message& m, BootstrapActions& out) {
  if (state_ == State::kWriting) return;  // it asks again
  Message answer = To(m.from.node, MessageType::kBootstrapAnswer);
  if (done()) {
    answer.bootstrap = record_;
    // It is empty, so the voter that it was is no more, if it was one.
    out.messages.push_back(std::move(answer));
    return;
  }
  answer.reject = !m.bootstrap.has_value() || !SameInitial(*m.bootstrap);
  if (answer.reject) {
    out.complaint = StrCat("controller ", m.from.node,
                           " names other --controllers than this one; make "
                           "them the same everywhere");
  }
  out.messages.push_back(std::move(answer));
}

void BootstrapCore::StepAnswer(const Message& m, BootstrapActions& out) {
  if (state_ != State::kEmpty) return;
  if (m.bootstrap.has_value()) {
    if (!m.bootstrap->cluster_id.is_set()) return;
    if (!m.bootstrap->Names(config_.self)) {
      out.complaint = StrCat(
          "cluster ", m.bootstrap->cluster_id,
          " exists and does not name this disk; this controller observes "
          "until it is admitted");
    }
    return Accept(*m.bootstrap, out);
  }
  if (m.reject) {
    empty_.erase(m.from.node);
    out.complaint = StrCat("controller ", m.from.node,
                           " refuses: its --controllers differ from this "
                           "one's; make them the same everywhere");
    return;
  }
  empty_[m.from.node] = m.from.directory;
  MaybeForm(out);
}

void BootstrapCore::StepOffer(const Message& m, BootstrapActions& out) {
  if (!m.bootstrap.has_value() || !m.bootstrap->cluster_id.is_set()) return;
  if (state_ == State::kEmpty) {
    // Durable first; the sender offers again and is answered then.
    if (m.bootstrap->Names(config_.self)) Accept(*m.bootstrap, out);
    return;
  }
  if (state_ == State::kWriting) return;
  Message ack = To(m.from.node, MessageType::kBootstrapAck);
  ack.reject = m.bootstrap->cluster_id != record_->cluster_id ||
               !m.bootstrap->Names(config_.self);
  if (m.bootstrap->cluster_id != record_->cluster_id) {
    out.complaint = StrCat("controller ", m.from.node, " offers cluster ",
                           m.bootstrap->cluster_id,
                           "; this one belongs to ", record_->cluster_id);
  }
  out.messages.push_back(std::move(ack));
}

}  // namespace sluice::raft
