#include "broker/replication/follower_links.h"

#include <glog/logging.h>

#include "common/base/invariant.h"

namespace sluice {
namespace {

constexpr int64_t kReopenMinUs = 50'000;
constexpr int64_t kReopenMaxUs = 200'000;

}  // namespace

FollowerLinks::FollowerLinks(Deps deps) : deps_(std::move(deps)) {}

void FollowerLinks::SetIdentity(OpenSession identity) {
  deps_.executor->Post([this, identity = std::move(identity)] {
    identity_ = identity;
    for (auto& [to, link] : links_) {
      if (link.stream != nullptr) {
        link.stream->Close();
        OnClosed(to, link.id, absl::CancelledError("new registration"));
      } else if (link.wanted && !link.waiting) {
        Open(to);
      }
    }
  });
}

void FollowerLinks::Want(const LeaderLink& wanted, api::Endpoint endpoint) {
  deps_.executor->Post([this, to = wanted, endpoint = std::move(endpoint)] {
    if (stopped_) return;
    Link& link = links_[to];
    if (link.stream != nullptr && link.endpoint != endpoint) {
      // The leader has moved; what still listens there is not it.
      link.stream->Close();
      OnClosed(to, link.id, absl::CancelledError("new address"));
    }
    link.endpoint = endpoint;
    if (link.stream != nullptr) {
      // The shard may have missed nothing, or have just seen a link die that
      // was opened again for another shard: tell them all again.
      for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
        deps_.ports->port(i)->OnLinkOpen(to, link.id, link.stream);
      }
      return;
    }
    link.wanted = true;
    if (!link.waiting && identity_.has_value()) Open(to);
  });
}

void FollowerLinks::Open(const LeaderLink& to) {
  Link& link = links_[to];
  INVARIANT(link.stream == nullptr && identity_.has_value(),
            "second stream to leader ", to.leader);
  link.wanted = false;
  const StreamId id = next_id_++;
  link.id = id;
  StreamEvents<LeaderFrame> events;
  events.on_frame = [this, to, id](LeaderFrame frame) {
    OnFrame(to, id, std::move(frame));
  };
  events.on_closed = [this, to, id](absl::Status why) {
    OnClosed(to, id, why);
  };
  // Straight to its shard: a hop less for each record. No shard hears of a
  // stream before it asked on it, and it knows the ids of those given up.
  events.take_at_once = [this, to, id](LeaderFrame& frame) {
    if (!frame.refused.ok()) return false;
    Route(to, id, std::move(frame));
    return true;
  };
  link.stream = deps_.connector->Open(link.endpoint, deps_.executor,
                                      std::move(events));
  FollowerFrame hello;
  hello.open = *identity_;
  hello.open->leader_id = to.leader;
  hello.open->kind = to.kind;
  hello.credit_bytes =
      to.kind == StreamKind::kMain ? kWindowBytes : kCatchUpWindowBytes;
  link.stream->Send(std::move(hello));
  for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
    deps_.ports->port(i)->OnLinkOpen(to, id, link.stream);
  }
}

void FollowerLinks::OnFrame(const LeaderLink& from, StreamId id,
                            LeaderFrame frame) {
  const auto found = links_.find(from);
  if (found == links_.end() || found->second.id != id ||
      found->second.stream == nullptr) {
    return;  // of a stream that was given up
  }
  if (!frame.refused.ok()) {
    LOG(WARNING) << "replication stream to broker " << from.leader
                 << " refused: " << NameOf(frame.refused.code) << ": "
                 << frame.refused.message;
    found->second.stream->Close();
    OnClosed(from, id, absl::AbortedError("refused"));
    return;
  }
  Route(from, id, std::move(frame));
}

void FollowerLinks::Route(const LeaderLink& from, StreamId id,
                          LeaderFrame frame) const {
  const size_t count = deps_.ports->port_count();
  if (count == 1) {
    deps_.ports->port(0)->OnLeaderFrame(from, id, std::move(frame));
    return;
  }
  std::vector<LeaderFrame> parts(count);
  std::vector<bool> used(count, false);
  const auto part_of = [&](const TopicPartition& tp) -> LeaderFrame& {
    const size_t index = deps_.ports->IndexOf(tp);
    used[index] = true;
    return parts[index];
  };
  for (auto& a : frame.add_answers) {
    part_of(a.tp).add_answers.push_back(std::move(a));
  }
  for (auto& d : frame.data) part_of(d.tp).data.push_back(std::move(d));
  for (auto& h : frame.high_watermarks) {
    part_of(h.tp).high_watermarks.push_back(h);
  }
  for (auto& r : frame.removed) {
    part_of(r.tp).removed.push_back(std::move(r));
  }
  for (auto& m : frame.moved) part_of(m.tp).moved.push_back(m);
  for (size_t i = 0; i < count; ++i) {
    if (used[i]) {
      deps_.ports->port(i)->OnLeaderFrame(from, id, std::move(parts[i]));
    }
  }
}

void FollowerLinks::OnClosed(const LeaderLink& to, StreamId id,
                             const absl::Status& why) {
  const auto found = links_.find(to);
  if (found == links_.end() || found->second.id != id ||
      found->second.stream == nullptr) {
    return;
  }
  VLOG(1) << "replication stream to broker " << to.leader
          << " closed: " << why.ToString();
  found->second.stream = nullptr;
  for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
    deps_.ports->port(i)->OnLinkClosed(to, id);
  }
  ScheduleOpen(to);
}

void FollowerLinks::ScheduleOpen(const LeaderLink& to) {
  if (stopped_) return;
  links_[to].waiting = true;
  deps_.executor->PostAfter(
      deps_.random.Between(kReopenMinUs, kReopenMaxUs), [this, to] {
        Link& link = links_[to];
        link.waiting = false;
        if (link.wanted && link.stream == nullptr && !stopped_ &&
            identity_.has_value()) {
          Open(to);
        }
      });
}

void FollowerLinks::Stop() {
  deps_.executor->Post([this] {
    stopped_ = true;
    for (auto& [to, link] : links_) {
      if (link.stream == nullptr) continue;
      link.stream->Close();
      link.stream = nullptr;
      for (size_t i = 0; i < deps_.ports->port_count(); ++i) {
        deps_.ports->port(i)->OnLinkClosed(to, link.id);
      }
    }
  });
}

}  // namespace sluice
