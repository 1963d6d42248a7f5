// A group under random faults: clients that sleep, leave and share an instance
// id, a network that delays, reorders and loses, a log that is slow and
// refuses, coordinators that die. An oracle that shares no code with the core
// watches what is told and which commits are taken.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "broker/group/commit_rules.h"
#include "broker/group/group_core.h"
#include "common/base/random.h"

namespace sluice::group {

// What happened in all worlds together: a fault that never fired tests nothing.
struct WorldCoverage {
  int64_t generations = 0, stable = 0, fail_overs = 0, lost_writes = 0,
          refused_writes = 0, lost_messages = 0, fenced = 0, sleeps = 0,
          leaves = 0, commits = 0, refused_commits = 0, late_commits = 0;
};

// What one member was told, whatever its id was when: a static one is its
// instance.
using MemberKey = std::string;

// GR1, GR3, GR4 from what crosses the edge of a coordinator.
class GroupOracle {
 public:
  void JoinTold(const MemberKey& member, Generation generation);
  void AssignmentTold(const MemberKey& member, Generation generation,
                      const std::string& partitions);
  void CommitTaken(const MemberKey& member, Generation generation);
  // A coordinator begins with this one.
  void Restored(Generation generation);

  bool Stale(Generation generation) const { return generation < newest_owned_; }
  Generation newest_told() const { return newest_told_; }
  const std::optional<std::string>& violation() const { return violation_; }

 private:
  struct Told {
    std::set<MemberKey> joined;
    std::map<MemberKey, std::string> assignments;
    std::map<char, MemberKey> owners;  // a partition is a letter
  };
  void Violated(std::string what);

  std::map<Generation, Told> told_;
  Generation newest_told_{0};
  Generation newest_owned_{0};
  std::optional<std::string> violation_;
};

class GroupWorld {
 public:
  GroupWorld(uint64_t seed, WorldCoverage& coverage);

  // One random event.
  void Step();
  // No faults from here on: everybody is to be stable within this time.
  // Nothing: it is; else what it looks like.
  std::optional<std::string> Settle(int64_t within_us);
  const std::optional<std::string>& violation() const;
  std::string Trace() const;

 private:
  enum class Phase { kOut, kJoining, kSyncing, kIn, kFenced };
  struct Client {
    std::string instance;
    MemberId member;
    Generation generation = kNoGeneration;
    Phase phase = Phase::kOut;
    RequestId waits_for{0};
    int64_t gives_up_us = 0;
    int64_t asleep_until_us = 0;
    int64_t next_heartbeat_us = 0;
    int metadata = 0;
  };
  using Body = std::variant<Join, Sync, Heartbeat, Leave, CommitClaim>;
  struct Message {
    int client;
    Body body;
  };
  struct Reply {
    int client;
    Action answer;
  };

  void Act(int client);
  void SendJoin(int client);
  void SendSync(int client, const AnswerJoin& answer);
  void SendHeartbeat(int client);
  void SendCommit(int client);
  void SendLeave(int client);
  void Send(int client, Body body);
  RequestId NextRequest(int client);
  void Expect(int client, RequestId request, int64_t patience_us);
  void StartOver(int client, bool with_id);

  void DeliverMessage(size_t index);
  void DeliverReply(size_t index);
  void OnJoinAnswer(int client, const AnswerJoin& answer);
  void OnSyncAnswer(int client, const AnswerSync& answer);
  void OnHeartbeatAnswer(int client, ErrorCode code);
  void Commit(int client, const CommitClaim& claim);

  void Do(const Event& event);
  void Take(const Action& action);
  void AnswerGoes(RequestId request, const Action& answer);
  void SettleWrite();
  void FailOver();
  void Pass(int64_t us);
  MemberKey KeyOf(int client, const MemberId& member) const;
  void Note(std::string what);
  bool AllStable() const;

  Random random_;
  WorldCoverage& coverage_;
  GroupOracle oracle_;
  std::unique_ptr<GroupCore> core_;
  std::vector<Client> clients_;
  std::vector<Message> messages_;
  std::vector<Reply> replies_;
  // Requests that a coordinator has and has not answered.
  std::map<RequestId, Message> open_;
  std::vector<WriteGroup> writes_;  // not settled yet
  std::optional<GroupImage> committed_;
  bool faults_ = true;
  int64_t now_us_ = 1;
  int64_t next_request_ = 1;
  std::map<RequestId, int> senders_;
  std::deque<std::string> trace_;
};

}  // namespace sluice::group
