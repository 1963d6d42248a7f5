// From one generation to the next: release, join, assign, sync.
#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "client/group/group_membership.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/mutant.h"

namespace sluice {

using namespace membership;  // NOLINT: the words of this machine

namespace {

Partitions Without(const Partitions& from, const Partitions& taken) {
  Partitions rest;
  std::set_difference(from.begin(), from.end(), taken.begin(), taken.end(),
                      std::inserter(rest, rest.end()));
  return rest;
}

std::vector<consumer::NamedPartition> ListOf(const Partitions& partitions) {
  return {partitions.begin(), partitions.end()};
}

// What a leader assigned by, as the user data of its own assignment: as the
// bytes of an assignment that names counts in the place of partitions.
constexpr std::string_view kCountsTag = "sluice counts\n";

std::string EncodeCounts(const consumer::PartitionCounts& counts) {
  consumer::Assignment bytes;
  for (const auto& [topic, count] : counts) {
    bytes.partitions.push_back({topic, PartitionIndex(count)});
  }
  return std::string(kCountsTag) + consumer::EncodeAssignment(bytes);
}

// nullopt: it was assigned by somebody who does not say.
std::optional<consumer::PartitionCounts> CountsIn(
    const std::optional<std::string>& user_data) {
  if (!user_data.has_value() || !user_data->starts_with(kCountsTag)) {
    return std::nullopt;
  }
  const auto bytes = consumer::DecodeAssignment(
      std::string_view(*user_data).substr(kCountsTag.size()));
  if (!bytes.ok()) return std::nullopt;
  consumer::PartitionCounts counts;
  for (const auto& [topic, count] : bytes->partitions) {
    counts[topic] = count.value();
  }
  return counts;
}

}  // namespace

Partitions GroupMembership::ToReleaseFirst() const {
  if (lost_ || !cooperative_) return owned_;
  Partitions unsubscribed;
  for (const auto& tp : owned_) {
    if (!topics_.contains(tp.topic)) unsubscribed.insert(tp);
  }
  return unsubscribed;
}

void GroupMembership::JoinIfWanted() {
  if (!rejoin_ || !releasing_.empty() || topics_.empty() ||
      (phase_ != Phase::kOut && phase_ != Phase::kStable)) {
    return;
  }
  if (Partitions first = ToReleaseFirst(); !first.empty()) {
    releasing_ = first;
    return Do(Release{std::move(first), std::exchange(lost_, false)});
  }
  lost_ = false;
  if (poll_expired_ || !HasCoordinator() || now_us_ < join_not_before_us_) {
    return;
  }
  phase_ = Phase::kJoining;
  rejoin_ = false;
  is_leader_ = false;
  beat_under_way_ = false;
  round_call_ = NextCall();
  Do(SendJoin{round_call_, JoinRequest()});
}

int32_t GroupMembership::RebalanceTimeoutMs() const {
  return deps_.options.rebalance_timeout_ms > 0
             ? deps_.options.rebalance_timeout_ms
             : deps_.options.max_poll_interval_ms;
}

v1::JoinGroupRequest GroupMembership::JoinRequest() const {
  const Options& options = deps_.options;
  v1::JoinGroupRequest request;
  request.set_group_id(options.group_id);
  request.set_member_id(member_id_);
  request.set_group_instance_id(options.instance_id);
  request.set_client_id(options.client_id);
  request.set_session_timeout_ms(options.session_timeout_ms);
  request.set_rebalance_timeout_ms(RebalanceTimeoutMs());
  request.set_protocol_type(std::string(consumer::kProtocolType));
  request.set_reason(rejoin_reason_);
  request.set_stream(options.stream);
  if (resuming_) request.set_resumes_stream(options.resumes_stream);
  for (const consumer::Assignor assignor : options.assignors) {
    consumer::Subscription subscription;
    subscription.topics = {topics_.begin(), topics_.end()};
    subscription.owned = ListOf(owned_);
    subscription.generation = last_generation_;
    if (!options.rack.empty()) subscription.rack = options.rack;
    // The cooperative one reads what is owned from the subscription.
    subscription.user_data = consumer::UserDataFor(
        assignor,
        assignor == consumer::Assignor::kCooperativeSticky
            ? subscription.owned
            : ListOf(last_assignment_),
        last_generation_);
    v1::GroupProtocol* protocol = request.add_protocols();
    protocol->set_name(std::string(consumer::NameOf(assignor)));
    protocol->set_metadata(consumer::EncodeSubscription(subscription));
  }
  return request;
}

void GroupMembership::On(const Joined& e) {
  if (e.call != round_call_ || phase_ != Phase::kJoining) return;
  if (!e.status.ok()) return OnJoinFailed(e.status, e.response);
  backoff_.Reset();
  member_id_ = e.response.member_id();
  generation_ = e.response.generation_id();
  protocol_name_ = e.response.protocol_name();
  heard_us_ = now_us_;
  next_beat_us_ =
      now_us_ + int64_t{deps_.options.heartbeat_interval_ms} * 1000;
  is_leader_ = e.response.leader_id() == member_id_;
  seen_owned_ = SeenOwned(e.response);
  if (is_leader_) return BeginAssigning(e.response);
  Sync({});
}

Partitions GroupMembership::SeenOwned(
    const v1::JoinGroupResponse& response) const {
  for (const v1::JoinedMember& joined : response.members()) {
    if (joined.member_id() != member_id_) continue;
    const auto subscription = consumer::DecodeSubscription(joined.metadata());
    if (!subscription.ok()) break;  // as a leader takes it
    return {subscription->owned.begin(), subscription->owned.end()};
  }
  return {};
}

void GroupMembership::OnJoinFailed(const absl::Status& status,
                                   const v1::JoinGroupResponse& response) {
  phase_ = Phase::kOut;
  rejoin_ = true;
  if (CodeOf(status) == ErrorCode::kMemberIdRequired) {
    member_id_ = response.member_id();
    return;
  }
  const Verdict verdict = VerdictOf(status);
  switch (verdict) {
    case Verdict::kFindAgain:
      return ForgetCoordinator();
    case Verdict::kRetry:
    case Verdict::kRejoin:
      join_not_before_us_ = NextRetryUs();
      return;
    default:
      join_not_before_us_ = NextRetryUs();
      OnLost(verdict, status);
  }
}

void GroupMembership::BeginAssigning(const v1::JoinGroupResponse& response) {
  phase_ = Phase::kAssigning;
  members_.clear();
  group_topics_.clear();
  for (const v1::JoinedMember& joined : response.members()) {
    consumer::GroupMember& member = members_[joined.member_id()];
    member.instance_id = joined.group_instance_id();
    // Bytes that make no sense subscribe to nothing: their sender gets nothing.
    auto subscription = consumer::DecodeSubscription(joined.metadata());
    if (!subscription.ok()) continue;
    member.subscription = *std::move(subscription);
    group_topics_.insert(member.subscription.topics.begin(),
                         member.subscription.topics.end());
  }
  skip_assignment_ = response.skip_assignment();
  round_call_ = NextCall();
  Do(LookUpTopics{round_call_, group_topics_});
}

void GroupMembership::On(const TopicsFound& e) {
  if (e.call != round_call_ || phase_ != Phase::kAssigning) return;
  const auto assignor = consumer::AssignorFromName(protocol_name_);
  if (!assignor.has_value()) {
    return Fail(MakeError(ErrorCode::kInconsistentGroupProtocol, "group ",
                          deps_.options.group_id, " chose the assignor '",
                          protocol_name_,
                          "', which this member did not offer"));
  }
  assigned_counts_.clear();
  for (const auto& [topic, count] : e.counts) {
    if (group_topics_.contains(topic)) assigned_counts_[topic] = count;
  }
  // The group goes on as it was, or as is decided here.
  Sync(skip_assignment_
           ? consumer::Assignments()
           : consumer::Assign(*assignor, assigned_counts_, members_));
}

void GroupMembership::Sync(const consumer::Assignments& assignments) {
  phase_ = Phase::kSyncing;
  round_call_ = NextCall();
  SendSync sync{round_call_, {}};
  sync.request.set_group_id(deps_.options.group_id);
  sync.request.set_member_id(member_id_);
  sync.request.set_group_instance_id(deps_.options.instance_id);
  sync.request.set_generation_id(generation_);
  sync.request.set_protocol_type(std::string(consumer::kProtocolType));
  sync.request.set_protocol_name(protocol_name_);
  sync.request.set_stream(deps_.options.stream);
  for (const auto& [member, partitions] : assignments) {
    v1::GroupAssignment* assignment = sync.request.add_assignments();
    assignment->set_member_id(member);
    consumer::Assignment bytes;
    bytes.partitions = partitions;
    if (member == member_id_) bytes.user_data = EncodeCounts(assigned_counts_);
    assignment->set_assignment(consumer::EncodeAssignment(bytes));
  }
  Do(std::move(sync));
}

void GroupMembership::On(const Synced& e) {
  if (e.call != round_call_ || phase_ != Phase::kSyncing) return;
  if (!e.status.ok()) return OnSyncFailed(e.status);
  Partitions assigned;
  if (!e.assignment.empty()) {  // a leader may leave a member out
    const auto decoded = consumer::DecodeAssignment(e.assignment);
    if (!decoded.ok()) {
      return Fail(MakeErrorStatus(
          CodeOf(decoded.status()),
          StrCat("the assignment that the leader of group ",
                 deps_.options.group_id, " made cannot be read: ",
                 StdView(decoded.status().message()))));
    }
    assigned.insert(decoded->partitions.begin(), decoded->partitions.end());
    // It goes on with what was decided in its place, which may be out of date.
    if (is_leader_ && skip_assignment_ && !MUTANT(kReturnedLeaderBlind)) {
      assigned_counts_ =
          CountsIn(decoded->user_data).value_or(std::move(assigned_counts_));
    }
  }
  backoff_.Reset();
  phase_ = Phase::kStable;
  heard_us_ = now_us_;
  Take(std::move(assigned));
  if (std::exchange(resuming_, false) && deps_.options.resumes_changed) {
    rejoin_ = true;
    rejoin_reason_ = "subscribes to others";
  }
  RejoinIfCountsChanged();
}

void GroupMembership::OnSyncFailed(const absl::Status& status) {
  phase_ = Phase::kOut;
  rejoin_ = true;
  const Verdict verdict = VerdictOf(status);
  switch (verdict) {
    case Verdict::kFindAgain:
      return ForgetCoordinator();
    case Verdict::kRejoin:
      rejoin_reason_ = "the group rebalances";
      return;
    case Verdict::kRetry:
      join_not_before_us_ = NextRetryUs();
      return;
    default:
      OnLost(verdict, status);
  }
}

void GroupMembership::Take(Partitions assigned) {
  last_generation_ = generation_;
  last_assignment_ = assigned;
  Partitions added = Without(assigned, owned_);
  Partitions revoked = Without(owned_, assigned);
  owned_.insert(added.begin(), added.end());
  // Also of nothing: the application learns that it is in.
  Do(Assigned{std::move(added)});
  if (cooperative_ && !Without(seen_owned_, owned_).empty() &&
      !MUTANT(kHeirForgetsToGiveBack)) {
    rejoin_ = true;
    rejoin_reason_ = "what it had before it came back is free";
  }
  if (revoked.empty()) return;
  INVARIANT(cooperative_, "an eager member joined with partitions");
  // Once they are released, who is to have them learns so in the next round.
  releasing_ = revoked;
  rejoin_ = true;
  rejoin_reason_ = "has released what it was not given again";
  Do(Release{std::move(revoked), false});
}

void GroupMembership::On(const CountsChanged& e) {
  counts_ = e.counts;
  RejoinIfCountsChanged();
}

void GroupMembership::RejoinIfCountsChanged() {
  if (phase_ != Phase::kStable || !is_leader_ || rejoin_) return;
  for (const std::string& topic : group_topics_) {
    const auto now = counts_.find(topic);
    const auto then = assigned_counts_.find(topic);
    const int32_t has = now == counts_.end() ? -1 : now->second;
    const int32_t had = then == assigned_counts_.end() ? 0 : then->second;
    if (has < 0 || has == had) continue;
    rejoin_ = true;
    rejoin_reason_ =
        StrCat("topic ", topic, " has ", has, " partitions instead of ", had);
    return;
  }
}

}  // namespace sluice
