#include "controller/raft/types.h"

#include <algorithm>

#include "common/base/str_cat.h"

namespace sluice::raft {

std::string VoterId::ToString() const {
  if (!is_set()) return "none";
  return StrCat(node, "@", directory.ToString().substr(0, 8));
}

bool BootstrapRecord::Names(const VoterId& who) const {
  return std::any_of(voters.begin(), voters.end(),
                     [&](const BootstrapVoter& v) { return v.voter() == who; });
}

std::string_view NameOf(MessageType type) {
  switch (type) {
    case MessageType::kPreVote: return "PRE_VOTE";
    case MessageType::kPreVoteResponse: return "PRE_VOTE_RESPONSE";
    case MessageType::kVote: return "VOTE";
    case MessageType::kVoteResponse: return "VOTE_RESPONSE";
    case MessageType::kAppend: return "APPEND";
    case MessageType::kAppendResponse: return "APPEND_RESPONSE";
    case MessageType::kHeartbeat: return "HEARTBEAT";
    case MessageType::kHeartbeatResponse: return "HEARTBEAT_RESPONSE";
    case MessageType::kTimeoutNow: return "TIMEOUT_NOW";
    case MessageType::kObserve: return "OBSERVE";
    case MessageType::kBootstrapProbe: return "BOOTSTRAP_PROBE";
    case MessageType::kBootstrapAnswer: return "BOOTSTRAP_ANSWER";
    case MessageType::kBootstrapOffer: return "BOOTSTRAP_OFFER";
    case MessageType::kBootstrapAck: return "BOOTSTRAP_ACK";
  }
  return "UNKNOWN";
}

bool IsBootstrap(MessageType type) {
  return type >= MessageType::kBootstrapProbe &&
         type <= MessageType::kBootstrapAck;
}

std::string_view NameOf(Role role) {
  switch (role) {
    case Role::kFollower: return "follower";
    case Role::kPreCandidate: return "pre-candidate";
    case Role::kCandidate: return "candidate";
    case Role::kLeader: return "leader";
  }
  return "unknown";
}

std::string Describe(const Message& m) {
  std::string text = StrCat(NameOf(m.type), " ", m.from.node, "->", m.to.node);
  switch (m.type) {
    case MessageType::kPreVote:
    case MessageType::kVote:
      return StrCat(text, " t", m.term, " last ", m.log_index, "/", m.log_term,
                    m.flag ? " forced" : "");
    case MessageType::kPreVoteResponse:
    case MessageType::kVoteResponse:
      return StrCat(text, " t", m.term, m.reject ? " no" : " yes");
    case MessageType::kAppend: {
      text = StrCat(text, " t", m.term, " prev ", m.log_index, "/", m.log_term,
                    " [");
      for (size_t i = 0; i < m.entries.size(); ++i) {
        text = StrCat(text, i == 0 ? "" : " ", m.entries[i].index, "/",
                      m.entries[i].term);
      }
      return StrCat(text, "] commit ", m.commit_index);
    }
    case MessageType::kAppendResponse:
      if (!m.reject) return StrCat(text, " t", m.term, " has ", m.log_index);
      return StrCat(text, " t", m.term, " refuses ", m.log_index, " try ",
                    m.reject_hint, "/", m.reject_hint_term);
    case MessageType::kHeartbeat:
      return StrCat(text, " t", m.term, " commit ", m.commit_index, " round ",
                    m.context);
    case MessageType::kHeartbeatResponse:
      return StrCat(text, " t", m.term, " round ", m.context);
    case MessageType::kObserve:
      return StrCat(text, " t", m.term, " last ", m.log_index);
    case MessageType::kBootstrapProbe:
    case MessageType::kBootstrapAnswer:
    case MessageType::kBootstrapOffer:
    case MessageType::kBootstrapAck:
      return StrCat(text, m.bootstrap.has_value() ? " with record" : "",
                    m.reject ? " no" : "");
    case MessageType::kTimeoutNow: break;
  }
  return StrCat(text, " t", m.term);
}

}  // namespace sluice::raft
