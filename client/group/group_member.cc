#include "client/group/group_member.h"

#include <algorithm>
#include <utility>

#include "client/group/group_errors.h"

namespace sluice {

namespace {

constexpr int64_t kFindTimeoutUs = 3'000'000;
// Beyond what the coordinator may take: the answer is its own then.
constexpr int64_t kRoundMarginUs = 5'000'000;

}  // namespace

template <class Call>
auto GroupMember::Guarded(Call call) {
  return [alive = std::weak_ptr<bool>(alive_),
          call = std::move(call)](auto answer) mutable {
    if (!alive.expired()) call(std::move(answer));
  };
}

GroupMember::GroupMember(Deps deps, const membership::Options& options,
                         Listener listener)
    : deps_(std::move(deps)),
      options_(options),
      listener_(std::move(listener)),
      random_(deps_.client.seed ^ 0x67726f7570),
      membership_({options, &random_}),
      connections_(deps_.groups, deps_.client.executor) {
  // Members of one list do not all ask its first broker.
  next_broker_ = random_.Below(deps_.metadata->Brokers().size());
  observation_ = deps_.metadata->Observe([this] { OnMetadata(); });
  WatchTopics();
}

GroupMember::~GroupMember() {
  alive_.reset();
  observation_.reset();
  if (timer_ != 0) deps_.client.executor->Cancel(timer_);
  if (topics_timer_ != 0) deps_.client.executor->Cancel(topics_timer_);
  if (look_up_.has_value()) deps_.client.executor->Cancel(look_up_->timer);
  const auto closed =
      MakeError(ErrorCode::kShuttingDown, "the consumer was closed");
  for (WaitingCommit& commit : commits_) commit.done(closed);
}

void GroupMember::Subscribe(const std::set<std::string>& topics) {
  for (const std::string& topic : topics) deps_.metadata->Follow(topic);
  topics_.insert(topics.begin(), topics.end());
  Do(membership::Subscribe{topics});
}

// A listener may come back while the actions of a step are carried out: what it
// says is the next step's.
void GroupMember::Do(membership::Event event) {
  events_.push_back(std::move(event));
  if (stepping_) return;
  stepping_ = true;
  const std::weak_ptr<bool> alive = alive_;
  while (!events_.empty()) {
    const membership::Event next = std::move(events_.front());
    events_.pop_front();
    auto actions = membership_.Step(next, deps_.client.clock->MonoMicros());
    for (membership::Action& action : actions) {
      std::visit([this](auto& a) { Carry(std::move(a)); }, action);
      if (alive.expired()) return;
    }
  }
  stepping_ = false;
  SetTimer();
}

void GroupMember::SetTimer() {
  if (timer_ != 0) deps_.client.executor->Cancel(timer_);
  timer_ = 0;
  const int64_t wake_us = membership_.NextWakeUs();
  if (wake_us == GroupMembership::kNever) return;
  const int64_t now_us = deps_.client.clock->MonoMicros();
  timer_ = deps_.client.executor->PostAfter(
      std::max<int64_t>(0, wake_us - now_us),
      [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        timer_ = 0;
        Do(membership::Tick{});
      });
}

// ---- Calls ----

std::shared_ptr<GroupPeer> GroupMember::CoordinatorPeer() {
  if (!membership_.has_coordinator() || !coordinator_.has_value()) {
    return nullptr;
  }
  return connections_.At(*coordinator_);
}

int64_t GroupMember::RoundTimeoutUs() const {
  return std::max(deps_.options.request_timeout_ms,
                  int64_t{options_.max_poll_interval_ms}) *
             1000 +
         kRoundMarginUs;
}

void GroupMember::Carry(membership::FindCoordinator action) {
  v1::FindCoordinatorRequest request;
  request.set_type(v1::FindCoordinatorRequest::TYPE_GROUP);
  request.add_keys(options_.group_id);
  const auto brokers = deps_.metadata->Brokers();
  connections_.At(brokers[next_broker_++ % brokers.size()])
      ->FindCoordinator(
          request, kFindTimeoutUs,
          Guarded([this, call = action.call](
                      absl::StatusOr<v1::FindCoordinatorResponse> answer) {
            absl::Status status = answer.status();
            if (status.ok() && answer->results_size() != 1) {
              status = MakeError(ErrorCode::kUnknownServerError,
                                 "a broker named ", answer->results_size(),
                                 " coordinators of one group");
            }
            if (status.ok()) status = StatusOf(answer->results(0).error());
            if (status.ok()) {
              const v1::Endpoint& at = answer->results(0).endpoint();
              coordinator_ = api::Endpoint{at.host(), at.port()};
            }
            Do(membership::CoordinatorFound{call, status});
          }));
}

void GroupMember::Carry(membership::SendJoin action) {
  CoordinatorPeer()->JoinGroup(
      action.request, RoundTimeoutUs(),
      Guarded([this, call = action.call](
                  absl::StatusOr<v1::JoinGroupResponse> answer) {
        const absl::Status status = StatusOf(answer);
        Do(membership::Joined{call, status,
                              answer.ok() ? *std::move(answer)
                                          : v1::JoinGroupResponse()});
      }));
}

void GroupMember::Carry(membership::SendSync action) {
  const auto peer = CoordinatorPeer();
  if (peer == nullptr) {  // it moved while the topics were looked up
    return Do(membership::Synced{
        action.call,
        MakeError(ErrorCode::kNotCoordinator, "the coordinator moved"), ""});
  }
  peer->SyncGroup(action.request, RoundTimeoutUs(),
                  Guarded([this, call = action.call](
                              absl::StatusOr<v1::SyncGroupResponse> answer) {
                    const absl::Status status = StatusOf(answer);
                    Do(membership::Synced{
                        call, status,
                        answer.ok() ? answer->assignment() : std::string()});
                  }));
}

void GroupMember::Carry(membership::SendHeartbeat action) {
  CoordinatorPeer()->Heartbeat(
      action.request,
      std::min<int64_t>(deps_.options.request_timeout_ms,
                        options_.session_timeout_ms) *
          1000,
      Guarded([this, call = action.call](
                  absl::StatusOr<v1::HeartbeatResponse> answer) {
        Do(membership::HeartbeatAnswered{call, StatusOf(answer)});
      }));
}

void GroupMember::Carry(membership::SendLeave action) {
  CoordinatorPeer()->LeaveGroup(
      action.request, kLeaveTimeoutUs,
      Guarded([this, call = action.call](
                  absl::StatusOr<v1::LeaveGroupResponse>) {
        // Who is not known as a member need not leave.
        Do(membership::LeaveAnswered{call});
      }));
}

void GroupMember::Carry(membership::Release action) {
  listener_.on_release(action.partitions, action.lost);
}

void GroupMember::Carry(membership::Assigned action) {
  listener_.on_assigned(action.added);
}

void GroupMember::Carry(membership::Failed action) {
  listener_.on_failed(action.status);
}

void GroupMember::Carry(membership::Left) {
  left_ = true;
  const auto waiting = std::exchange(leaving_, {});
  const std::weak_ptr<bool> alive = alive_;
  for (const auto& done : waiting) {
    done();
    if (alive.expired()) return;
  }
}

void GroupMember::Leave(std::function<void()> done) {
  if (left_) return done();
  leaving_.push_back(std::move(done));
  Do(membership::Leave{});
}

// ---- Topics ----

consumer::PartitionCounts GroupMember::KnownCounts(
    const std::set<std::string>& topics) const {
  consumer::PartitionCounts counts;
  for (const std::string& topic : topics) {
    const MetadataCache::Topic* known = deps_.metadata->Find(topic);
    if (known != nullptr) {
      counts[topic] = static_cast<int32_t>(known->partitions.size());
    }
  }
  return counts;
}

// The newest: what was known may be as old as metadata_age_max_ms.
void GroupMember::Carry(membership::LookUpTopics action) {
  for (const std::string& topic : action.topics) {
    deps_.metadata->Follow(topic);
  }
  topics_.insert(action.topics.begin(), action.topics.end());
  if (look_up_.has_value()) deps_.client.executor->Cancel(look_up_->timer);
  look_up_ = LookUp{action.call, action.topics,
                    deps_.metadata->refresh_count(), 0};
  look_up_->timer = deps_.client.executor->PostAfter(
      kLookUpTimeoutUs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) FinishLookUp(true);
      });
  deps_.metadata->Refresh();
}

void GroupMember::FinishLookUp(bool timed_out) {
  if (!look_up_.has_value()) return;
  const auto settled = [this](const std::string& topic) {
    return deps_.metadata->Find(topic) != nullptr ||
           CodeOf(deps_.metadata->WhyUnknown(topic)) ==
               ErrorCode::kUnknownTopicOrPartition;
  };
  const bool fresh =
      deps_.metadata->refresh_count() > look_up_->refresh_count &&
      std::all_of(look_up_->topics.begin(), look_up_->topics.end(), settled);
  if (!fresh && !timed_out) return;
  deps_.client.executor->Cancel(look_up_->timer);
  const LookUp done = *std::exchange(look_up_, std::nullopt);
  Do(membership::TopicsFound{done.call, KnownCounts(done.topics)});
}

void GroupMember::OnMetadata() {
  FinishLookUp(false);
  consumer::PartitionCounts counts = KnownCounts(topics_);
  if (counts == told_counts_) return;
  told_counts_ = counts;
  Do(membership::CountsChanged{std::move(counts)});
}

void GroupMember::WatchTopics() {
  topics_timer_ = deps_.client.executor->PostAfter(
      kTopicsAgeMaxUs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        if (membership_.is_leader()) deps_.metadata->Refresh();
        WatchTopics();
      });
}

}  // namespace sluice
