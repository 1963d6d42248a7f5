#include "controller/metadata/session_core.h"

#include <algorithm>

#include "common/base/str_cat.h"
#include "common/base/mutant.h"

namespace sluice {
namespace {

SessionAction DialAction(NodeId broker, BrokerEpoch epoch) {
  return {SessionAction::Kind::kDial, broker, epoch, ""};
}

SessionAction FenceAction(NodeId broker, BrokerEpoch epoch, std::string why) {
  return {SessionAction::Kind::kFence, broker, epoch, std::move(why)};
}

}  // namespace

SessionActions SessionCore::Activate(const MetadataImage& image,
                                     int64_t now_us) {
  sessions_.clear();
  last_tick_us_ = now_us;
  last_sign_us_ = -1;
  SessionActions actions;
  for (const auto& [id, broker] : image.brokers()) {
    Session& session = sessions_[id];
    session.epoch = broker->epoch;
    session.deadline_us =
        now_us + (MUTANT(kSessionsEndWithController) ? 0 : options_.session_us);
    session.dialing = true;
    actions.push_back(DialAction(id, broker->epoch));
  }
  return actions;
}

void SessionCore::Deactivate() {
  sessions_.clear();
  last_tick_us_ = -1;
}

SessionCore::Session* SessionCore::Find(NodeId broker, BrokerEpoch epoch) {
  const auto found = sessions_.find(broker);
  if (found == sessions_.end() || found->second.epoch != epoch) return nullptr;
  return &found->second;
}

void SessionCore::OnRegistered(NodeId broker, BrokerEpoch epoch,
                               int64_t now_us) {
  Session session;
  session.epoch = epoch;
  session.deadline_us = now_us + options_.session_us;
  ScheduleDial(session, now_us);
  sessions_[broker] = session;
}

void SessionCore::ScheduleDial(Session& session, int64_t now_us) const {
  session.redial_us = std::clamp(2 * session.redial_us, options_.redial_min_us,
                                 options_.redial_us);
  session.next_dial_us = now_us + session.redial_us;
}

void SessionCore::OnHeartbeat(NodeId broker, BrokerEpoch epoch, uint64_t stream,
                              int64_t now_us) {
  Session& session = sessions_[broker];
  if (session.epoch > epoch) return;  // a late word of an older incarnation
  session.epoch = epoch;
  session.deadline_us = now_us + options_.session_us;
  session.stream = stream;
  session.unanswered = false;
  session.extended = false;
  last_sign_us_ = now_us;
}

SessionActions SessionCore::OnStreamClosed(NodeId broker, BrokerEpoch epoch,
                                           uint64_t stream, int64_t now_us) {
  Session* session = Find(broker, epoch);
  if (session == nullptr || session->stream != stream) return {};
  session->stream = 0;
  session->redial_us = 0;
  if (session->dialing) return {};
  session->dialing = true;
  return {DialAction(broker, epoch)};
}

SessionActions SessionCore::OnDialResult(NodeId broker, BrokerEpoch epoch,
                                         Dial result, int64_t now_us) {
  Session* session = Find(broker, epoch);
  if (session == nullptr) return {};
  session->dialing = false;
  ScheduleDial(*session, now_us);
  // Whoever answers, if only to refuse, is within reach.
  if (result != Dial::kNoAnswer && last_sign_us_ >= 0) last_sign_us_ = now_us;
  if (session->stream != 0) return {};  // it came back meanwhile
  switch (result) {
    case Dial::kRefused:
      sessions_.erase(broker);
      return {FenceAction(broker, epoch,
                          "its liveness stream broke and its internal "
                          "listener refuses: the process is dead")};
    case Dial::kConnected:
      session->unanswered = false;
      return {};
    case Dial::kNoAnswer:
      session->unanswered = true;
      ExtendIfManyAreSilent(now_us);
      return {};
  }
  return {};
}

void SessionCore::ExtendIfManyAreSilent(int64_t now_us) {
  const auto silent = static_cast<size_t>(
      std::count_if(sessions_.begin(), sessions_.end(),
                    [](const auto& s) { return s.second.unanswered; }));
  if (silent < 2 || 2 * silent <= sessions_.size()) return;
  for (auto& [id, session] : sessions_) {
    if (!session.unanswered || session.extended) continue;
    session.extended = true;
    session.deadline_us =
        std::max(session.deadline_us, now_us + options_.session_us);
  }
}

bool SessionCore::IsCutOff(int64_t now_us) {
  if (last_sign_us_ < 0 || sessions_.size() < 2) return false;
  if (now_us - last_sign_us_ < options_.session_us / 2) return false;
  last_sign_us_ = -1;
  return true;
}

SessionActions SessionCore::OnTick(int64_t now_us) {
  const int64_t slept_us =
      last_tick_us_ < 0 ? 0 : now_us - last_tick_us_ - options_.tick_us;
  last_tick_us_ = now_us;
  if (slept_us > options_.redial_us && last_sign_us_ >= 0) {
    last_sign_us_ += slept_us;
  }
  SessionActions actions;
  if (IsCutOff(now_us)) {
    actions.push_back({SessionAction::Kind::kResign, kNoNode, kNoBrokerEpoch,
                       StrCat("not one of ", sessions_.size(),
                              " brokers was heard for ",
                              options_.session_us / 2000, " ms")});
  }
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    auto& [id, session] = *it;
    if (slept_us > options_.redial_us) session.deadline_us += slept_us;
    if (now_us >= session.deadline_us) {
      actions.push_back(FenceAction(
          id, session.epoch,
          StrCat("no heartbeat for ", options_.session_us / 1000, " ms",
                 session.stream != 0 ? " on a standing stream" : "")));
      it = sessions_.erase(it);
      continue;
    }
    if (session.stream == 0 && !session.dialing &&
        now_us >= session.next_dial_us) {
      session.dialing = true;
      actions.push_back(DialAction(id, session.epoch));
    }
    ++it;
  }
  return actions;
}

SessionState SessionCore::StateOf(NodeId broker, BrokerEpoch epoch) const {
  const auto found = sessions_.find(broker);
  if (found == sessions_.end() || found->second.epoch != epoch) {
    return SessionState::kNone;
  }
  return found->second.stream != 0 ? SessionState::kConnected
                                   : SessionState::kBroken;
}

}  // namespace sluice
