#include "broker/group/group_world_testing.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/base/invariant.h"

namespace sluice::group {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kSessionUs = 10 * kSecondUs;
constexpr int64_t kRebalanceUs = 30 * kSecondUs;
constexpr int64_t kHeartbeatUs = 3 * kSecondUs;
constexpr int64_t kJoinPatienceUs = kRebalanceUs + 5 * kSecondUs;
constexpr int64_t kPatienceUs = 8 * kSecondUs;
constexpr std::string_view kPartitions = "abcdefgh";
constexpr size_t kInFlightMax = 64;
constexpr size_t kTraceMax = 400;

}  // namespace

GroupWorld::GroupWorld(uint64_t seed, WorldCoverage& coverage)
    : random_(seed), coverage_(coverage) {
  core_ = std::make_unique<GroupCore>(GroupCore::Deps{"g", {}, &random_});
  const int64_t clients = random_.Between(2, 6);
  for (int64_t i = 0; i < clients; ++i) {
    Client client;
    // Now and then two share an instance.
    if (random_.OneIn(3)) {
      client.instance = "i" + std::to_string(random_.Below(3));
    }
    clients_.push_back(client);
  }
}

const std::optional<std::string>& GroupWorld::violation() const {
  return oracle_.violation();
}

std::string GroupWorld::Trace() const {
  std::string text;
  for (const std::string& line : trace_) text += line + "\n";
  return text;
}

void GroupWorld::Note(std::string what) {
  if (trace_.size() == kTraceMax) trace_.pop_front();
  trace_.push_back(StrCat(now_us_ / 1000, " ms: ", what));
}

MemberKey GroupWorld::KeyOf(int client, const MemberId& member) const {
  const std::string& instance = clients_[client].instance;
  return instance.empty() ? member.ToString() : instance;
}

// ---- Clients ----

RequestId GroupWorld::NextRequest(int client) {
  const RequestId request(next_request_++);
  senders_[request] = client;
  return request;
}

void GroupWorld::Expect(int client, RequestId request, int64_t patience_us) {
  clients_[client].waits_for = request;
  clients_[client].gives_up_us = now_us_ + patience_us;
}

void GroupWorld::Send(int client, Body body) {
  const bool lost = faults_ && (random_.OneIn(30) ||
                                messages_.size() >= kInFlightMax);
  if (lost) {
    ++coverage_.lost_messages;
    return;
  }
  messages_.push_back({client, std::move(body)});
}

void GroupWorld::SendJoin(int client) {
  Client& c = clients_[client];
  if (faults_ && random_.OneIn(5)) ++c.metadata;
  const RequestId request = NextRequest(client);
  c.phase = Phase::kJoining;
  Expect(client, request, kJoinPatienceUs);
  Send(client,
       Join{.request = request,
            .member = c.member,
            .instance = InstanceId(c.instance),
            .client_id = StrCat("c", client),
            .session_timeout_us = kSessionUs,
            .rebalance_timeout_us = kRebalanceUs,
            .protocol_type = "consumer",
            .protocols = {{"range", StrCat(client, ".", c.metadata)}}});
}

// The leader deals the partitions out in a new order every time: two answers
// from two of its syncs would differ.
void GroupWorld::SendSync(int client, const AnswerJoin& answer) {
  Client& c = clients_[client];
  std::vector<MemberAssignment> assignments;
  if (answer.leader == answer.member && !answer.skip_assignment) {
    for (const JoinedMember& m : answer.members) assignments.push_back({m.id});
    const size_t start = random_.Below(assignments.size());
    for (size_t i = 0; i < kPartitions.size(); ++i) {
      assignments[(start + i) % assignments.size()].assignment.push_back(
          kPartitions[i]);
    }
  }
  const RequestId request = NextRequest(client);
  c.phase = Phase::kSyncing;
  Expect(client, request, kPatienceUs + kRebalanceUs);
  Send(client, Sync{.request = request,
                    .member = c.member,
                    .instance = InstanceId(c.instance),
                    .generation = c.generation,
                    .assignments = std::move(assignments)});
}

void GroupWorld::SendHeartbeat(int client) {
  Client& c = clients_[client];
  c.next_heartbeat_us = now_us_ + kHeartbeatUs;
  Send(client, Heartbeat{.request = NextRequest(client),
                         .member = c.member,
                         .instance = InstanceId(c.instance),
                         .generation = c.generation});
}

void GroupWorld::SendCommit(int client) {
  const Client& c = clients_[client];
  Send(client, CommitClaim{.member = c.member,
                           .instance = InstanceId(c.instance),
                           .generation = c.generation});
}

void GroupWorld::SendLeave(int client) {
  ++coverage_.leaves;
  Client& c = clients_[client];
  Send(client, Leave{.request = NextRequest(client),
                     .members = {{c.member, InstanceId(c.instance)}}});
  StartOver(client, false);
}

void GroupWorld::StartOver(int client, bool with_id) {
  Client& c = clients_[client];
  if (!with_id) {
    c.member = MemberId();
    c.generation = kNoGeneration;
  }
  c.phase = Phase::kOut;
  c.waits_for = RequestId(0);
}

void GroupWorld::Act(int client) {
  Client& c = clients_[client];
  if (c.asleep_until_us > now_us_) return;
  switch (c.phase) {
    case Phase::kFenced:
      return;
    case Phase::kOut:
      // The last commits before joining again.
      if (faults_ && c.generation >= Generation(0) && random_.OneIn(3)) {
        SendCommit(client);
      }
      return SendJoin(client);
    case Phase::kJoining:
    case Phase::kSyncing:
      if (c.gives_up_us <= now_us_) StartOver(client, true);
      return;
    case Phase::kIn:
      break;
  }
  if (faults_ && random_.OneIn(40)) return SendLeave(client);
  if (faults_ && random_.OneIn(30)) {
    ++coverage_.sleeps;
    c.asleep_until_us = now_us_ + random_.Between(1, 40) * kSecondUs;
    return;
  }
  if (random_.OneIn(2)) SendCommit(client);
  if (c.next_heartbeat_us <= now_us_) SendHeartbeat(client);
}

// ---- What clients hear ----

void GroupWorld::DeliverReply(size_t index) {
  const Reply reply = std::move(replies_[index]);
  replies_.erase(replies_.begin() + static_cast<int64_t>(index));
  Client& c = clients_[reply.client];
  if (c.phase == Phase::kFenced) return;
  if (const auto* join = std::get_if<AnswerJoin>(&reply.answer)) {
    if (join->request == c.waits_for) OnJoinAnswer(reply.client, *join);
  } else if (const auto* sync = std::get_if<AnswerSync>(&reply.answer)) {
    if (sync->request == c.waits_for) OnSyncAnswer(reply.client, *sync);
  } else if (const auto* beat = std::get_if<AnswerHeartbeat>(&reply.answer)) {
    if (c.phase == Phase::kIn) OnHeartbeatAnswer(reply.client, beat->code);
  }
}

void GroupWorld::OnJoinAnswer(int client, const AnswerJoin& answer) {
  Client& c = clients_[client];
  if (answer.code == ErrorCode::kNone) {
    c.member = answer.member;
    c.generation = answer.generation;
    return SendSync(client, answer);
  }
  if (answer.code == ErrorCode::kFencedInstanceId) {
    ++coverage_.fenced;
    c.phase = Phase::kFenced;
    return;
  }
  StartOver(client, answer.code != ErrorCode::kUnknownMemberId);
  if (answer.code == ErrorCode::kMemberIdRequired) c.member = answer.member;
}

void GroupWorld::OnSyncAnswer(int client, const AnswerSync& answer) {
  Client& c = clients_[client];
  if (answer.code == ErrorCode::kNone) {
    ++coverage_.stable;
    c.phase = Phase::kIn;
    c.waits_for = RequestId(0);
    c.next_heartbeat_us = now_us_ + kHeartbeatUs;
    return;
  }
  if (answer.code == ErrorCode::kFencedInstanceId) {
    ++coverage_.fenced;
    c.phase = Phase::kFenced;
    return;
  }
  StartOver(client, answer.code != ErrorCode::kUnknownMemberId);
}

void GroupWorld::OnHeartbeatAnswer(int client, ErrorCode code) {
  Client& c = clients_[client];
  if (code == ErrorCode::kNone || code == ErrorCode::kCoordinatorNotAvailable ||
      code == ErrorCode::kNotCoordinator) {
    return;
  }
  if (code == ErrorCode::kFencedInstanceId) {
    ++coverage_.fenced;
    c.phase = Phase::kFenced;
    return;
  }
  StartOver(client, code != ErrorCode::kUnknownMemberId);
}

// ---- The coordinator ----

void GroupWorld::DeliverMessage(size_t index) {
  Message message = std::move(messages_[index]);
  messages_.erase(messages_.begin() + static_cast<int64_t>(index));
  if (const auto* claim = std::get_if<CommitClaim>(&message.body)) {
    return Commit(message.client, *claim);
  }
  std::visit(
      [&](auto body) {
        if constexpr (!std::is_same_v<decltype(body), CommitClaim>) {
          body.now_us = now_us_;
          open_.emplace(body.request, message);
          Do(body);
        }
      },
      message.body);
}

void GroupWorld::Commit(int client, const CommitClaim& claim) {
  const ErrorCode code = CheckCommit(core_.get(), claim);
  if (oracle_.Stale(claim.generation)) ++coverage_.late_commits;
  if (code != ErrorCode::kNone) {
    ++coverage_.refused_commits;
    return;
  }
  if (claim.generation < Generation(0)) return;
  ++coverage_.commits;
  oracle_.CommitTaken(KeyOf(client, claim.member), claim.generation);
  Do(CommitAccepted{claim.member, now_us_});
}

void GroupWorld::Do(const Event& event) {
  std::vector<Action> actions = core_->Step(event);
  for (const Action& action : actions) Take(action);
}

void GroupWorld::Take(const Action& action) {
  if (const auto* join = std::get_if<AnswerJoin>(&action)) {
    if (join->code == ErrorCode::kNone) {
      oracle_.JoinTold(KeyOf(senders_[join->request], join->member),
                       join->generation);
    }
    AnswerGoes(join->request, action);
  } else if (const auto* sync = std::get_if<AnswerSync>(&action)) {
    if (sync->code == ErrorCode::kNone) {
      const int client = senders_[sync->request];
      const auto& asked = std::get<Sync>(open_.at(sync->request).body);
      oracle_.AssignmentTold(KeyOf(client, asked.member), sync->generation,
                             sync->assignment);
    }
    AnswerGoes(sync->request, action);
  } else if (const auto* beat = std::get_if<AnswerHeartbeat>(&action)) {
    AnswerGoes(beat->request, action);
  } else if (const auto* left = std::get_if<AnswerLeave>(&action)) {
    AnswerGoes(left->request, action);
  } else if (const auto* write = std::get_if<WriteGroup>(&action)) {
    writes_.push_back(*write);
    Note(StrCat("write ", write->write, " ", NameOf(write->image->state),
                " generation ", write->image->generation));
  } else if (const auto* began = std::get_if<RebalanceBegan>(&action)) {
    ++coverage_.generations;
    Note(began->why);
  }
}

void GroupWorld::AnswerGoes(RequestId request, const Action& answer) {
  const auto asked = open_.find(request);
  INVARIANT(asked != open_.end(), "request ", request,
            " is answered twice, or was never asked");
  const int client = asked->second.client;
  open_.erase(asked);
  if (faults_ && random_.OneIn(30)) {
    ++coverage_.lost_messages;
    return;
  }
  replies_.push_back({client, answer});
}

void GroupWorld::SettleWrite() {
  const WriteGroup write = writes_.front();
  writes_.erase(writes_.begin());
  absl::Status status;
  if (faults_ && random_.OneIn(12)) {
    ++coverage_.refused_writes;
    status = MakeError(ErrorCode::kNotEnoughReplicas, "refused");
  } else {
    committed_ = write.image;
  }
  Do(Written{write.write, status, now_us_});
}

// Of the writes under way a prefix survives.
void GroupWorld::FailOver() {
  ++coverage_.fail_overs;
  const size_t survive = random_.Below(writes_.size() + 1);
  if (survive > 0) committed_ = writes_[survive - 1].image;
  coverage_.lost_writes += static_cast<int64_t>(writes_.size() - survive);
  writes_.clear();
  const GroupCore::Deps deps = {"g", {}, &random_};
  core_ = committed_.has_value()
              ? std::make_unique<GroupCore>(deps, *committed_, now_us_)
              : std::make_unique<GroupCore>(deps);
  oracle_.Restored(core_->generation());
  Note(StrCat("fail-over, generation ", core_->generation()));
  // Their connections break; some clients take their time to see it.
  for (const auto& [request, message] : open_) {
    Client& c = clients_[message.client];
    if (c.waits_for == request && random_.OneIn(2)) {
      StartOver(message.client, true);
    }
  }
  open_.clear();
}

void GroupWorld::Pass(int64_t us) {
  now_us_ += us;
  if (core_->NextDeadlineUs() <= now_us_) Do(Tick{now_us_});
}

void GroupWorld::Step() {
  switch (random_.Below(20)) {
    case 0: case 1: case 2: case 3: case 4:
      return Act(static_cast<int>(random_.Below(clients_.size())));
    case 5: case 6: case 7: case 8: case 9:
      if (!messages_.empty()) DeliverMessage(random_.Below(messages_.size()));
      return;
    case 10: case 11: case 12: case 13: case 14:
      if (!replies_.empty()) DeliverReply(random_.Below(replies_.size()));
      return;
    case 15: case 16: case 17:
      if (!writes_.empty()) SettleWrite();
      return;
    case 18:
      return Pass(random_.Between(1, random_.OneIn(10) ? 12 : 2) * kSecondUs);
    case 19:
      if (random_.OneIn(25)) FailOver();
      return;
  }
}

bool GroupWorld::AllStable() const {
  if (core_->state() != GroupState::kStable || !writes_.empty()) return false;
  size_t in = 0;
  for (const Client& c : clients_) {
    if (c.phase == Phase::kFenced) continue;
    if (c.phase != Phase::kIn || c.generation != core_->generation()) {
      return false;
    }
    ++in;
  }
  return in == core_->member_count();
}

std::optional<std::string> GroupWorld::Settle(int64_t within_us) {
  faults_ = false;
  const int64_t until = now_us_ + within_us;
  for (Client& c : clients_) c.asleep_until_us = 0;
  while (now_us_ < until) {
    for (size_t i = 0; i < clients_.size(); ++i) Act(static_cast<int>(i));
    while (!messages_.empty()) DeliverMessage(0);
    while (!writes_.empty()) SettleWrite();
    while (!replies_.empty()) DeliverReply(0);
    if (violation().has_value() || AllStable()) return std::nullopt;
    Pass(kSecondUs / 4);
  }
  return StrCat("after ", within_us / kSecondUs, " s the group is ",
                NameOf(core_->state()), " with ", core_->member_count(),
                " members in generation ", core_->generation());
}

}  // namespace sluice::group
