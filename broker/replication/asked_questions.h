// As leader: the newest question that each follower has asked about a replica,
// and on which stream.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "broker/replication/replication_port.h"

namespace sluice {

// Pure; of one partition. A follower's numbers rise while its process lives,
// that is, in one broker epoch. They outlive streams: a question can be late on
// the other one.
class AskedQuestions {
 public:
  // False, and it has no effect: the follower has asked a newer one, or this
  // one before, and the answer is on its way.
  bool Take(const FollowerSession& by, AddNumber number);
  void Answered(NodeId follower);
  // Whether what came by this session belongs to the newest question.
  bool IsNewest(const FollowerSession& by, AddNumber number) const;
  AddNumber NumberOf(NodeId follower) const;
  // nullopt: it has asked nothing, or that stream has ended.
  std::optional<StreamKind> StreamOf(NodeId follower) const;
  // True: that was the stream of its newest question.
  bool EndStream(NodeId follower, StreamKind kind);
  // Forgets the others: no more are kept than a partition has replicas and
  // have asked since its metadata changed.
  void Keep(const std::vector<NodeId>& replicas);

 private:
  struct Asked {
    BrokerEpoch broker_epoch;
    AddNumber number;
    std::optional<StreamKind> stream;
    bool answered = false;
  };
  std::map<NodeId, Asked> newest_;
};

}  // namespace sluice
