// MD1-MD5, MD7, MD9, RP18, RP19, RA16: the metadata as a fold of the committed log,
// registrations, fencing, names, controlled stops.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "controller/metadata/delta.h"
#include "test/check/cluster.h"
#include "test/check/findings.h"

namespace sluice::check {

class MetadataInvariants {
 public:
  MetadataInvariants(Findings* findings, const Cluster* cluster)
      : findings_(*findings), cluster_(*cluster) {}

  // The process is gone. May come again for a machine that loses its power
  // when its process was killed before.
  void OnEnd(const NodeView& node, End how);
  void OnWiped(NodeId node);
  // cluster->committed is new, `before` was the one before it.
  void OnCommitted(const MetadataImage& before, const MetadataChanges& changes);
  // A node shows `image`; `last` is what this process showed before, or null.
  void OnImage(const NodeView& node, const MetadataImage& image,
               const MetadataImage* last);
  // The active controller allowed this broker to stop.
  void OnReleased(const NodeView& node);
  // A client was told that this topic was created.
  void OnTopicCreated(const TopicId& id);

 private:
  // What became of the process and the disk of an incarnation.
  struct Fate {
    NodeId node;
    bool known = false;
    End how = End::kKilled;
    // Ended while it stopped: the clean marker may be there or not.
    bool maybe_clean = false;
    int64_t first_wipe = 0;  // of all disks, behind its end; 0: none
  };
  // Where a stopping broker was first seen to lead nothing, and who was active.
  struct HandOver {
    LogIndex offset;
    std::map<NodeId, BrokerEpoch> active;
  };

  void CheckRegistration(const BrokerImage* before, const BrokerImage& now,
                         LogIndex offset_before);
  void CheckRestart(const BrokerImage& before, const BrokerImage& now);
  void CheckUnfenced(const BrokerImage* before, const BrokerImage& now);
  void CheckInactive(const BrokerImage& now);
  void CheckNames(const MetadataChanges& changes);
  void NoteHandOvers();
  // Between the end of `before` and the start of `now`.
  bool WasWiped(const IncarnationId& before, const IncarnationId& now) const;
  static std::string Text(const BrokerImage& broker);

  Findings& findings_;
  const Cluster& cluster_;
  std::map<LogIndex, uint64_t> hashes_{
      {LogIndex(0), MetaHash(*MetadataImage::Empty())}};
  std::map<IncarnationId, Fate> fates_;
  std::map<NodeId, IncarnationId> last_incarnation_;
  int64_t wipes_ = 0;
  std::set<TopicId> topic_ids_;
  std::map<std::pair<NodeId, BrokerEpoch>, HandOver> hand_overs_;
  std::set<std::pair<NodeId, BrokerEpoch>> leading_;
  // The offset that took the last leadership.
  std::map<std::pair<NodeId, BrokerEpoch>, LogIndex> led_until_;
};

}  // namespace sluice::check
