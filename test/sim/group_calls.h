// Calls of groups and what brokers answer, read off the wire: for the checks
// (GR1-GR6, GR8).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "test/check/group_invariants.h"
#include "test/sim/message.h"

namespace sluice::sim {

// Of each call that arrived, what it asks for is kept until it is answered or
// its stream's end is sent; of calls whose answer never comes the last
// kCallsMax.
class GroupCalls {
 public:
  static constexpr size_t kCallsMax = 10'000;

  // `invariants` outlives this.
  explicit GroupCalls(check::GroupInvariants* invariants)
      : invariants_(*invariants) {}

  void OnMessage(const Message& message, Fate fate);
  // Behind the event in which brokers answered, when its other effects were
  // seen.
  void TellAnswers();

 private:
  struct Call {
    MessageKind kind;
    std::string request;
    std::vector<check::GroupMoment> asked;  // one a group
  };
  struct Answer {
    Call call;
    std::string response;
  };

  void OnSent(const Message& message);
  void OnArrived(const Message& message);
  void Tell(const Answer& answer);
  template <class Request, class Response>
  void TellOne(const Answer& answer);

  check::GroupInvariants& invariants_;
  std::map<uint64_t, Call> calls_;  // by lane, which are numbered in order
  std::vector<Answer> answers_;
};

}  // namespace sluice::sim
