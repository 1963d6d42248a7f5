// Streams of Consume, read off the wire: what their brokers may commit for them
// (GR1, GR2), and what they owe their clients.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/consumer/named_partition.h"
#include "sluice/v1/group.pb.h"
#include "test/check/group_invariants.h"
#include "test/sim/message.h"

namespace sluice::sim {

// A broker that coordinates the group itself commits without a message: who
// claims an offset is the client that acknowledges it: for the generation that
// its stream was told of, those that its broker joins until it is told of the
// next, and that one and so on while it keeps the partition.
//
// TOPIC: what is pushed says which topic of that name it is of, and that is what
// an acknowledgement by id is of.
// CREDIT: nothing is pushed to who has granted nothing. PHANTOM: nor of a
// partition that is not assigned or is revoked. RELEASED: a partition that is
// revoked is given up when the client says so, or its time is over.
class ConsumeStreams {
 public:
  using Report = std::function<void(const std::string&)>;

  // `invariants` outlives this.
  ConsumeStreams(check::GroupInvariants* invariants, Report report)
      : invariants_(*invariants), report_(std::move(report)) {}

  void OnMessage(const Message& message, Fate fate);
  // As GroupCalls.
  void TellAnswers();

 private:
  using NamedPartition = consumer::NamedPartition;
  struct Released {
    NamedPartition tp;
    Offset next;
    int64_t bytes = 0;
  };
  struct Revoke {
    int64_t id = 0;
    int64_t sent_us = 0;
    int64_t timeout_us = 0;
  };
  // An acknowledgement, when it came to the broker.
  struct Asked {
    check::GroupMoment moment;
    std::string member;
    Offset offset;
  };
  struct Stream {
    std::string group;
    std::string instance;
    bool auto_ack = false;
    std::string member;
    int32_t generation = -1;
    std::set<NamedPartition> assigned;  // less what is revoked
    std::map<std::string, std::string> topics;  // by id: the names
    std::map<NamedPartition, Offset> acked;
    std::map<NamedPartition, std::deque<Asked>> asked;
    int64_t credit = 0;
    std::deque<Released> pushed;  // auto mode: not released
    int64_t released_bytes = 0;   // of the first
    std::optional<Revoke> revoke;
  };
  struct Answer {
    Asked asked;
    std::string group;
    std::string instance;
    v1::TopicRef topic;  // as it was named
    int32_t partition = 0;
  };
  using Offsets = google::protobuf::RepeatedPtrField<v1::OffsetCommit>;

  void OnSent(const Message& message, const v1::ConsumeRequest& request);
  void OnArrived(const Message& message, const v1::ConsumeRequest& request);
  void OnSaid(const Message& message, const v1::ConsumeResponse& response);
  void OnAssigned(const Message& message, Stream& stream,
                  const v1::ConsumeAssigned& assigned);
  void OnRecords(Stream& stream, const v1::ConsumeRecords& records);
  void OnCommitted(Stream& stream, const v1::ConsumeCommitted& committed);
  void Acknowledge(Stream& stream, const Offsets& offsets);
  void Release(Stream& stream, int64_t bytes);
  void Claim(const Stream& stream, const NamedPartition& tp, Offset offset);
  template <class Item>
  NamedPartition NameOf(const Stream& stream, const Item& item) const;

  check::GroupInvariants& invariants_;
  const Report report_;
  std::map<uint64_t, Stream> streams_;  // by lane
  std::vector<Answer> answers_;
};

}  // namespace sluice::sim
