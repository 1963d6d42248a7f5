#include "broker/replication/leader_sessions.h"

#include <glog/logging.h>

#include <algorithm>

#include "common/base/error.h"

namespace sluice {

LeaderSessions::LeaderSessions(Deps deps) : deps_(std::move(deps)) {}

StreamEvents<FollowerFrame> LeaderSessions::Accept(
    std::shared_ptr<LeaderStream> stream) {
  const StreamId id = next_id_++;
  const auto open = std::make_shared<bool>(false);
  sessions_[id].stream = std::move(stream);
  sessions_[id].open = open;
  ++unnamed_;
  if (stopped_) {
    Refuse(id, api::ItemError(ErrorCode::kShuttingDown,
                              "this broker is stopping"));
  } else if (unnamed_ > kUnnamedStreamsMax) {
    Refuse(id, api::ItemError(ErrorCode::kBusy,
                              "too many streams that have not said who they "
                              "are; try again later"));
  } else {
    deps_.executor->PostAfter(kNamingTimeUsMax, [this, id] {
      const auto found = sessions_.find(id);
      if (found == sessions_.end() || found->second.broker_id != kNoNode) {
        return;
      }
      Refuse(id, api::ItemError(ErrorCode::kRequestTimedOut,
                                "the stream did not say who it is in time"));
    });
  }
  StreamEvents<FollowerFrame> events;
  events.on_frame = [this, id](FollowerFrame frame) {
    OnFrame(id, std::move(frame));
  };
  events.on_closed = [this, id](absl::Status) { OnClosed(id); };
  // Straight to its shard: a hop less for each record.
  events.take_at_once = [this, id, open](FollowerFrame& frame) {
    if (!*open) return false;
    Route(id, std::move(frame));
    return true;
  };
  return events;
}

void LeaderSessions::OnFrame(StreamId id, FollowerFrame frame) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  if (found->second.broker_id == kNoNode) {
    if (!frame.open.has_value()) {
      Refuse(id, api::ItemError(ErrorCode::kInvalidRequest,
                                "the first frame must open the session"));
      return;
    }
    if (!Open(id, *frame.open, frame.credit_bytes)) return;
  }
  Route(id, std::move(frame));
}

absl::Status LeaderSessions::CheckOpen(const OpenSession& open,
                                       int64_t credit_bytes) {
  if (open.leader_id != deps_.own_id) {
    return MakeError(ErrorCode::kInvalidRequest, "this is broker ",
                     deps_.own_id, ", not ", open.leader_id,
                     "; refresh the metadata");
  }
  const absl::Status checked = deps_.check(open);
  if (checked.ok() && credit_bytes <= 0) {
    return MakeError(ErrorCode::kInvalidRequest,
                     "a session needs credit: got ", credit_bytes);
  }
  return checked;
}

// One session a broker and kind; the newest wins, but never a stale
// incarnation, which loses both.
bool LeaderSessions::ReplaceOlder(StreamId id, const OpenSession& open) {
  std::vector<StreamId> older;
  for (const auto& [other, session] : sessions_) {
    if (other == id || session.broker_id != open.broker_id) continue;
    if (session.broker_epoch > open.broker_epoch) {
      Refuse(id, api::ItemError(ErrorCode::kStaleBrokerEpoch,
                                "a later incarnation has a session"));
      return false;
    }
    if (session.kind == open.kind || session.broker_epoch < open.broker_epoch) {
      older.push_back(other);
    }
  }
  for (const StreamId other : older) {
    Refuse(other, api::ItemError(ErrorCode::kStaleBrokerEpoch,
                                 "replaced by a newer session"));
  }
  return true;
}

Budget::Share LeaderSessions::TakeWindow(const OpenSession& open,
                                         int64_t asked_bytes) const {
  Budget& memory = *deps_.memory;
  const int64_t wanted = std::min(asked_bytes, kWindowBytesMax);
  if (auto whole = memory.TryTake(wanted)) return *std::move(whole);
  Budget::Share share = memory.Nothing();
  share.Add(std::min(
      wanted, std::max((memory.max() - memory.taken()) / 2, kWindowBytesMin)));
  LOG(WARNING) << "a replication stream to broker " << open.broker_id
               << " has a window of " << share.amount() << " bytes, not "
               << wanted << ": streams have taken " << memory.taken() << " of "
               << memory.max() << " (--replication_memory_bytes)";
  return share;
}

bool LeaderSessions::Open(StreamId id, const OpenSession& open,
                          int64_t credit_bytes) {
  if (absl::Status checked = CheckOpen(open, credit_bytes); !checked.ok()) {
    Refuse(id, api::ItemError(checked));
    return false;
  }
  if (!ReplaceOlder(id, open)) return false;
  Session& session = sessions_[id];
  session.broker_id = open.broker_id;
  session.broker_epoch = open.broker_epoch;
  session.kind = open.kind;
  --unnamed_;
  session.window = TakeWindow(open, credit_bytes);
  const auto ports = static_cast<int64_t>(deps_.ports->port_count());
  for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
    deps_.ports->port(i)->OnSessionOpen(
        {id, open.broker_id, open.broker_epoch, session.stream,
         std::max<int64_t>(session.window->amount() / ports, 1),
         open.kind});
  }
  *session.open = true;
  return true;
}

void LeaderSessions::Refuse(StreamId id, api::ItemError why) {
  LOG(WARNING) << "replication session refused: " << NameOf(why.code) << ": "
               << why.message;
  const std::shared_ptr<LeaderStream> stream = sessions_[id].stream;
  LeaderFrame frame;
  frame.refused = std::move(why);
  stream->Send(std::move(frame));
  stream->Close();
  OnClosed(id);
}

void LeaderSessions::OnClosed(StreamId id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const bool named = found->second.broker_id != kNoNode;
  sessions_.erase(found);
  if (!named) {
    --unnamed_;
    return;
  }
  for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
    deps_.ports->port(i)->OnSessionClosed(id);
  }
}

void LeaderSessions::Route(StreamId id, FollowerFrame frame) const {
  const size_t count = deps_.ports->port_count();
  std::vector<FollowerFrame> parts(count);
  std::vector<bool> used(count, false);
  const auto part_of = [&](const TopicPartition& tp) -> FollowerFrame& {
    const size_t index = deps_.ports->IndexOf(tp);
    used[index] = true;
    return parts[index];
  };
  for (const auto& a : frame.adds) part_of(a.tp).adds.push_back(a);
  for (const auto& a : frame.acks) part_of(a.tp).acks.push_back(a);
  for (const auto& r : frame.removes) part_of(r.tp).removes.push_back(r);
  for (size_t i = 0; i < count; ++i) {
    if (used[i]) deps_.ports->port(i)->OnFollowerFrame(id, std::move(parts[i]));
  }
}

void LeaderSessions::Stop() {
  deps_.executor->Post([this] {
    stopped_ = true;
    while (!sessions_.empty()) {
      const StreamId id = sessions_.begin()->first;
      sessions_.begin()->second.stream->Close();
      OnClosed(id);
    }
  });
}

}  // namespace sluice
