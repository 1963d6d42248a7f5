// Which broker is alive and of no use: its syncs or its appends take far longer
// than those of its peers, or a data directory of its has no room. Pure: what
// heartbeats say goes in with the time, who is to be demoted or cleared comes
// out (design/replication.md, F53, F56).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/ids.h"
#include "controller/metadata/config_registry.h"
#include "controller/metadata/image.h"
#include "sluice/internal/v1/controller.pb.h"

namespace sluice {

// Of the keys gray.failure.*.
struct GrayFailureOptions {
  int64_t latency_us = 1'000'000;
  int64_t ratio = 10;
  // With the second that a hang takes to be one: as long as a session. What
  // hangs is worth no more than what is silent.
  int64_t demote_us = 2'000'000;
  // Longer than the pauses of a disk that fails now and then.
  int64_t clear_us = 30'000'000;

  static GrayFailureOptions Of(const ConfigRegistry& configs);
};

struct GrayFailureAction {
  enum class Kind { kDemote, kClear };
  Kind kind;
  NodeId broker;
  BrokerEpoch epoch;
  std::string why;

  bool operator==(const GrayFailureAction&) const = default;
};

// Rules. A broker's level, of syncs and of appends each, is the mean of what
// ended lately or the age of the oldest that has not ended, whichever is more:
// a hang never ends. It is slow when its level is at least `latency_us` and at
// least `ratio` times the median of those of the other active brokers that have
// something to tell: where all are slow nobody is, and who is alone is never
// judged. Slow for `demote_us` on end it is demoted, the slowest first, and
// never more than half of the active brokers. Demoted it is cleared once it has
// shown, for `clear_us` on end, levels below half of both limits: between the
// two nothing changes (hysteresis). Silence shows nothing: who has not sent
// such a report for kSilentUs counts nowhere and begins anew.
// A broker with a full data directory is as bad as a slow one, while another
// has room: it is demoted by the same times and cleared by the same, so that a
// disk on which a little is freed now and then moves nothing to and fro.
// While somebody is suspected or demoted all are asked to sync something, so
// that what is compared is of the same time.
class GrayFailureCore {
 public:
  // Four heartbeats.
  static constexpr int64_t kSilentUs = 1'200'000;
  // How long what has ended counts while nothing else ends.
  static constexpr int64_t kSampleUs = 3'000'000;
  // A demoted broker's demotion is asked for again so often: what it leads
  // because nobody else could moves once somebody can.
  static constexpr int64_t kAgainUs = 1'000'000;
  // Of what a heartbeat says of full directories; the rest is not looked at.
  static constexpr int kFullDirectoriesMax = 16;
  static constexpr size_t kDirectoryBytesMax = 256;

  explicit GrayFailureCore(GrayFailureOptions options) : options_(options) {}

  void Reset() { brokers_.clear(); }
  // From a heartbeat; one that has no report says nothing.
  void OnHeartbeat(NodeId broker, BrokerEpoch epoch,
                   const internal::v1::LivenessRequest& heartbeat,
                   int64_t now_us);
  // Asked often. What it says it says again, every kAgainUs, until the image
  // shows it.
  std::vector<GrayFailureAction> Judge(const MetadataImage& image,
                                       int64_t now_us);
  // As of the last Judge.
  bool wants_probes() const { return wants_probes_; }

 private:
  enum Series { kSyncs, kAppends, kSeriesCount };
  struct Latency {
    int64_t mean_us = 0;
    int64_t sampled_us = -1;  // when it was told; -1: never
    int64_t oldest_us = 0;
  };
  struct Broker {
    BrokerEpoch epoch = kNoBrokerEpoch;
    int64_t heard_us = 0;
    Latency series[kSeriesCount];
    std::vector<std::string> full_directories;
    int64_t slow_since_us = -1;
    int64_t fast_since_us = -1;
    int64_t told_us = -1;
  };
  using Levels = std::vector<std::pair<int64_t, NodeId>>;  // rising

  static void Take(const internal::v1::IoLatency& told, int64_t now_us,
                   Latency* into);
  std::optional<int64_t> LevelOf(const Broker& broker, Series series,
                                 int64_t now_us) const;
  // The lower median of the others' levels.
  static std::optional<int64_t> PeersOf(const Levels& levels, NodeId broker);
  bool IsFull(const Broker& broker, int64_t now_us) const;
  bool IsSlow(const Broker& broker, NodeId id,
              const Levels (&levels)[kSeriesCount], int64_t now_us) const;
  bool IsFast(const Broker& broker, NodeId id,
              const Levels (&levels)[kSeriesCount], int64_t now_us) const;
  void Compare(const MetadataImage& image, int64_t now_us);
  std::string Text(const Broker& broker, NodeId id, int64_t now_us) const;
  int64_t WorstOf(const Broker& broker, int64_t now_us) const;

  const GrayFailureOptions options_;
  std::map<NodeId, Broker> brokers_;
  bool wants_probes_ = false;
};

}  // namespace sluice
