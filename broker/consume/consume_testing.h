// A stream's core with a client, a coordinator and leaders that a test plays.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/consume/consume_core.h"
#include "common/base/error.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::consume {

inline constexpr int64_t kSecondUs = 1'000'000;

inline Partitions Of(const std::string& topic,
                     std::initializer_list<int> numbers) {
  Partitions partitions;
  for (const int n : numbers) partitions.insert({topic, PartitionIndex(n)});
  return partitions;
}

inline std::string AssignmentOf(const Partitions& partitions) {
  consumer::Assignment assignment;
  assignment.partitions = {partitions.begin(), partitions.end()};
  return consumer::EncodeAssignment(assignment);
}

class ConsumeTest : public testing::Test {
 protected:
  ConsumeTest() { Connect(); }

  void Connect(const std::string& secret = "secret-of-this-st") {
    core_ = std::make_unique<ConsumeCore>(
        ConsumeCore::Deps{&random_, secret, "stub"}, now_us_);
    actions_.clear();
    over_ = false;
  }

  // Actions add up until a test has looked at them.
  void Do(const Event& event) {
    if (over_) return;
    for (Action& action : core_->Step(event, now_us_)) {
      if (std::holds_alternative<Finish>(action)) over_ = true;
      actions_.push_back(std::move(action));
    }
  }
  // Time passes; what is due on the way is done.
  void Pass(int64_t us) {
    const int64_t end_us = now_us_ + us;
    while (!over_ && core_->NextWakeUs() <= end_us) {
      now_us_ = std::max(now_us_, core_->NextWakeUs());
      Do(Tick{});
    }
    now_us_ = end_us;
    Do(Tick{});
  }

  // The first such action, which is taken away.
  template <class T>
  std::optional<T> Take() {
    for (auto it = actions_.begin(); it != actions_.end(); ++it) {
      if (T* found = std::get_if<T>(&*it)) {
        T taken = std::move(*found);
        actions_.erase(it);
        return taken;
      }
    }
    return std::nullopt;
  }
  template <class T>
  T The() {
    std::optional<T> taken = Take<T>();
    EXPECT_TRUE(taken.has_value()) << "no such action";
    return taken.value_or(T());
  }
  template <class T>
  bool Has() const {
    return std::any_of(actions_.begin(), actions_.end(), [](const Action& a) {
      return std::holds_alternative<T>(a);
    });
  }
  // The first message to the client of that kind.
  std::optional<v1::ConsumeResponse> TakePush(
      v1::ConsumeResponse::MessageCase kind) {
    for (auto it = actions_.begin(); it != actions_.end(); ++it) {
      const Push* push = std::get_if<Push>(&*it);
      if (push == nullptr || push->message.message_case() != kind) continue;
      v1::ConsumeResponse message = push->message;
      actions_.erase(it);
      return message;
    }
    return std::nullopt;
  }
  v1::ConsumeAssigned TheAssigned() {
    const auto push = TakePush(v1::ConsumeResponse::kAssigned);
    EXPECT_TRUE(push.has_value());
    return push.has_value() ? push->assigned() : v1::ConsumeAssigned();
  }
  v1::ConsumeRevoke TheRevoke() {
    const auto push = TakePush(v1::ConsumeResponse::kRevoke);
    EXPECT_TRUE(push.has_value()) << "nothing was revoked";
    return push.has_value() ? push->revoke() : v1::ConsumeRevoke();
  }
  // By partition: what became of acknowledgements.
  std::vector<std::pair<int64_t, ErrorCode>> TheResults() {
    std::vector<std::pair<int64_t, ErrorCode>> results;
    while (const auto push = TakePush(v1::ConsumeResponse::kCommitted)) {
      for (const auto& result : push->committed().results()) {
        results.push_back(
            {result.offset(), CodeFromNumber(result.error().code())});
      }
    }
    return results;
  }
  ErrorCode HowItEnded() {
    const auto finish = Take<Finish>();
    EXPECT_TRUE(finish.has_value()) << "the stream goes on";
    return finish.has_value() ? CodeOf(finish->status)
                              : ErrorCode::kUnknownServerError;
  }

  // ---- The client ----

  static v1::ConsumeRequest OpenMessage() {
    v1::ConsumeRequest message;
    message.mutable_open()->set_group_id("g");
    message.mutable_open()->add_topics("t");
    message.mutable_open()->set_session_timeout_ms(10'000);
    message.mutable_open()->set_rebalance_timeout_ms(30'000);
    message.mutable_open()->set_max_poll_interval_ms(60'000);
    message.set_credit_bytes(1'000);
    return message;
  }
  void Say(v1::ConsumeRequest message) { Do(ClientSaid{std::move(message)}); }
  void Grant(int64_t bytes) {
    v1::ConsumeRequest message;
    message.set_credit_bytes(bytes);
    Say(message);
  }
  static void PutOffset(v1::OffsetCommit* out, int partition, int64_t offset) {
    out->mutable_topic()->set_name("t");
    out->set_partition(partition);
    out->set_offset(offset);
  }
  void Ack(int partition, int64_t offset) {
    v1::ConsumeRequest message;
    PutOffset(message.mutable_ack()->add_offsets(), partition, offset);
    Say(message);
  }
  void RevokeAck(int64_t id,
                 std::vector<std::pair<int, int64_t>> offsets = {}) {
    v1::ConsumeRequest message;
    message.mutable_revoke_ack()->set_revoke_id(id);
    for (const auto& [partition, offset] : offsets) {
      PutOffset(message.mutable_revoke_ack()->add_offsets(), partition, offset);
    }
    Say(message);
  }

  // ---- The coordinator ----

  // As a member that does not lead.
  void AnswerJoin(const SendJoin& join, int32_t generation,
                  const std::string& leader = "other") {
    Joined joined{join.call, absl::OkStatus(), {}};
    joined.response.set_member_id("m");
    joined.response.set_generation_id(generation);
    joined.response.set_leader_id(leader);
    joined.response.set_protocol_name(join.request.protocols(0).name());
    Do(joined);
  }
  void FailJoin(const SendJoin& join, ErrorCode code) {
    Do(Joined{join.call, MakeError(code, "as the test wants"), {}});
  }
  void AnswerSync(const Partitions& partitions) {
    Do(Synced{The<SendSync>().call, absl::OkStatus(),
              AssignmentOf(partitions)});
  }
  void AnswerCommit(ErrorCode code = ErrorCode::kNone) {
    const auto commit = The<SendCommit>();
    v1::CommitOffsetsResponse response;
    for (const auto& offset : commit.request.offsets()) {
      auto* result = response.add_results();
      *result->mutable_topic() = offset.topic();
      result->set_partition(offset.partition());
      if (code != ErrorCode::kNone) {
        result->mutable_error()->set_code(
            static_cast<v1::ErrorCode>(static_cast<int>(code)));
      }
    }
    Do(CommitAnswered{commit.call, std::move(response)});
  }
  // Nothing is committed, but for what is given.
  void AnswerFetch(std::map<int, int64_t> committed = {}) {
    const auto fetch = The<SendFetchOffsets>();
    v1::GroupOffsets answer;
    for (const auto& topic : fetch.query.topics()) {
      for (const int32_t partition : topic.partitions()) {
        auto* offset = answer.add_offsets();
        *offset->mutable_topic() = topic.topic();
        offset->set_partition(partition);
        const auto found = committed.find(partition);
        offset->set_offset(found == committed.end() ? -1 : found->second);
      }
    }
    Do(OffsetsFetched{fetch.call, std::move(answer)});
  }
  // The heartbeat that is due says that the group rebalances.
  void BeginRebalance(ErrorCode code = ErrorCode::kRebalanceInProgress) {
    if (!Has<SendHeartbeat>()) Pass(3 * kSecondUs);
    Do(HeartbeatAnswered{The<SendHeartbeat>().call,
                         MakeError(code, "as the test wants")});
  }
  // Beats go on being answered while time passes.
  void PassBeating(int64_t us) {
    for (; us > 0; us -= kSecondUs) {
      Pass(std::min(us, kSecondUs));
      while (const auto beat = Take<SendHeartbeat>()) {
        Do(HeartbeatAnswered{beat->call, absl::OkStatus()});
      }
    }
  }

  // ---- The leaders ----

  void Records(int partition, int64_t next, int64_t bytes = 100) {
    Read read;
    read.tp = {"t", PartitionIndex(partition)};
    read.next = Offset(next);
    read.leader_epoch = LeaderEpoch(2);
    read.bytes = bytes;
    Do(read);
  }

  // ---- Ways that tests go often ----

  SendJoin Open(v1::ConsumeRequest message = OpenMessage()) {
    Say(std::move(message));
    Do(TopicsFound{The<LookUpTopics>().call, {{"t", 4}}});
    return The<SendJoin>();
  }
  // A member that reads `partitions` of "t" from 0 on.
  void BeReading(std::initializer_list<int> partitions,
                 v1::ConsumeRequest message = OpenMessage()) {
    AnswerJoin(Open(std::move(message)), 1);
    AnswerSync(Of("t", partitions));
    std::map<int, int64_t> zeros;
    for (const int p : partitions) zeros[p] = 0;
    AnswerFetch(zeros);
    for (size_t i = 0; i < partitions.size(); ++i) {
      EXPECT_EQ(std::get<Offset>(The<StartReading>().start), Offset(0));
    }
    EXPECT_EQ(TheAssigned().member_id(), "m");
    actions_.clear();
  }

  Random random_{1};
  int64_t now_us_ = 1'000 * kSecondUs;
  std::unique_ptr<ConsumeCore> core_;
  std::vector<Action> actions_;
  bool over_ = false;
};

}  // namespace sluice::consume
