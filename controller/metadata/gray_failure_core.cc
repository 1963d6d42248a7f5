#include "controller/metadata/gray_failure_core.h"

#include <algorithm>
#include <utility>

#include "common/base/mutant.h"
#include "common/base/str_cat.h"

namespace sluice {

GrayFailureOptions GrayFailureOptions::Of(const ConfigRegistry& configs) {
  GrayFailureOptions options;
  if (MUTANT(kGrayFailureUnconfigured)) return options;
  options.latency_us = configs.NodeNumber(kGrayFailureLatencyMs) * 1000;
  options.ratio = configs.NodeNumber(kGrayFailureRatio);
  options.demote_us = configs.NodeNumber(kGrayFailureDemoteMs) * 1000;
  options.clear_us = configs.NodeNumber(kGrayFailureClearMs) * 1000;
  return options;
}

void GrayFailureCore::Take(const internal::v1::IoLatency& told, int64_t now_us,
                           Latency* into) {
  if (told.samples() > 0) {
    into->mean_us = std::max<int64_t>(told.mean_us(), 0);
    into->sampled_us = now_us;
  }
  into->oldest_us =
      MUTANT(kHangUnseen) ? 0 : std::max<int64_t>(told.oldest_us(), 0);
}

void GrayFailureCore::OnHeartbeat(
    NodeId id, BrokerEpoch epoch,
    const internal::v1::LivenessRequest& heartbeat, int64_t now_us) {
  if (!heartbeat.has_syncs() && !heartbeat.has_appends() &&
      heartbeat.full_log_dirs().empty()) {
    return;
  }
  Broker& broker = brokers_[id];
  if (broker.epoch > epoch) return;  // a late word of an older incarnation
  if (broker.epoch < epoch) broker = Broker{.epoch = epoch};
  broker.heard_us = now_us;
  Take(heartbeat.syncs(), now_us, &broker.series[kSyncs]);
  Take(heartbeat.appends(), now_us, &broker.series[kAppends]);
  broker.full_directories.clear();
  for (const std::string& path : heartbeat.full_log_dirs()) {
    if (broker.full_directories.size() == kFullDirectoriesMax) break;
    broker.full_directories.push_back(path.substr(0, kDirectoryBytesMax));
  }
}

bool GrayFailureCore::IsFull(const Broker& broker, int64_t now_us) const {
  return !broker.full_directories.empty() &&
         now_us - broker.heard_us <= kSilentUs && !MUTANT(kFullDiskLeadsOn);
}

std::optional<int64_t> GrayFailureCore::LevelOf(const Broker& broker,
                                                Series series,
                                                int64_t now_us) const {
  const Latency& latency = broker.series[series];
  if (now_us - broker.heard_us > kSilentUs) return std::nullopt;
  const bool fresh = latency.sampled_us >= 0 &&
                     now_us - latency.sampled_us <= kSampleUs;
  if (!fresh && latency.oldest_us == 0) return std::nullopt;
  return std::max(fresh ? latency.mean_us : 0, latency.oldest_us);
}

std::optional<int64_t> GrayFailureCore::PeersOf(const Levels& levels,
                                                NodeId broker) {
  std::vector<int64_t> others;
  for (const auto& [level, id] : levels) {
    if (id != broker) others.push_back(level);
  }
  if (others.empty()) return std::nullopt;
  if (MUTANT(kPeersUncompared)) return 0;
  return others[(others.size() - 1) / 2];
}

bool GrayFailureCore::IsSlow(const Broker& broker, NodeId id,
                             const Levels (&levels)[kSeriesCount],
                             int64_t now_us) const {
  for (const Series series : {kSyncs, kAppends}) {
    const auto level = LevelOf(broker, series, now_us);
    if (!level.has_value() || *level < options_.latency_us) continue;
    const auto peers = PeersOf(levels[series], id);
    if (peers.has_value() && *level >= options_.ratio * *peers) return true;
  }
  return false;
}

bool GrayFailureCore::IsFast(const Broker& broker, NodeId id,
                             const Levels (&levels)[kSeriesCount],
                             int64_t now_us) const {
  if (!broker.full_directories.empty() && !MUTANT(kFullDiskCleared)) {
    return false;
  }
  // A disk that was not asked for anything shows nothing.
  if (!LevelOf(broker, kSyncs, now_us).has_value()) return false;
  for (const Series series : {kSyncs, kAppends}) {
    const auto level = LevelOf(broker, series, now_us);
    if (!level.has_value() || 2 * *level < options_.latency_us) continue;
    const auto peers = PeersOf(levels[series], id);
    if (!peers.has_value() || 2 * *level >= options_.ratio * *peers) {
      return false;
    }
  }
  return true;
}

void GrayFailureCore::Compare(const MetadataImage& image, int64_t now_us) {
  Levels levels[kSeriesCount];
  bool suspects = false;
  bool demoted = false;
  bool somebody_has_room = false;
  for (auto& [id, broker] : brokers_) {
    const BrokerImage* known = image.FindBroker(id);
    if (known == nullptr || known->epoch != broker.epoch || !known->active()) {
      broker.slow_since_us = broker.fast_since_us = -1;
      continue;
    }
    demoted |= known->demoted;
    suspects |= IsFull(broker, now_us);
    somebody_has_room |= broker.full_directories.empty() && !known->demoted &&
                         now_us - broker.heard_us <= kSilentUs;
    for (const Series series : {kSyncs, kAppends}) {
      const auto level = LevelOf(broker, series, now_us);
      if (!level.has_value()) continue;
      levels[series].emplace_back(*level, id);
      suspects |= *level >= options_.latency_us;
    }
  }
  wants_probes_ = suspects || demoted;
  for (Levels& one : levels) std::sort(one.begin(), one.end());
  for (auto& [id, broker] : brokers_) {
    const bool active = image.IsActive(id) &&
                        image.FindBroker(id)->epoch == broker.epoch;
    const auto note = [&](bool holds, int64_t& since_us) {
      if (!holds) {
        since_us = -1;
      } else if (since_us < 0) {
        since_us = now_us;
      }
    };
    // Nobody is suspected: nobody is slow.
    note(active && suspects &&
             (IsSlow(broker, id, levels, now_us) ||
              (IsFull(broker, now_us) && somebody_has_room)),
         broker.slow_since_us);
    note(active && demoted && IsFast(broker, id, levels, now_us),
         broker.fast_since_us);
  }
}

int64_t GrayFailureCore::WorstOf(const Broker& broker, int64_t now_us) const {
  return std::max(LevelOf(broker, kSyncs, now_us).value_or(0),
                  LevelOf(broker, kAppends, now_us).value_or(0));
}

std::string GrayFailureCore::Text(const Broker& broker, NodeId id,
                                  int64_t now_us) const {
  const auto text = [&](Series series) {
    const auto level = LevelOf(broker, series, now_us);
    return level.has_value() ? StrCat(*level / 1000, " ms")
                             : std::string("nothing known");
  };
  std::string full;
  for (const std::string& path : broker.full_directories) {
    full += StrCat(full.empty() ? "; no room in " : ", ", path);
  }
  return StrCat("syncs of broker ", id, ": ", text(kSyncs), ", appends: ",
                text(kAppends), " (the mean, or the age of the oldest)", full);
}

std::vector<GrayFailureAction> GrayFailureCore::Judge(
    const MetadataImage& image, int64_t now_us) {
  Compare(image, now_us);
  std::vector<std::pair<int64_t, NodeId>> slow;
  int active = 0;
  int demoted = 0;
  std::vector<GrayFailureAction> actions;
  const auto tell = [&](GrayFailureAction::Kind kind, NodeId id,
                        const std::string& why) {
    const auto found = brokers_.find(id);
    if (found->second.told_us >= 0 &&
        now_us - found->second.told_us < kAgainUs) {
      return;
    }
    found->second.told_us = now_us;
    actions.push_back({kind, id, found->second.epoch, why});
  };
  for (const auto& [id, known] : image.brokers()) {
    if (!known->active()) continue;
    ++active;
    demoted += known->demoted;
    const auto found = brokers_.find(id);
    if (found == brokers_.end() || found->second.epoch != known->epoch) {
      continue;
    }
    const Broker& broker = found->second;
    if (!known->demoted) {
      if (broker.slow_since_us >= 0 &&
          now_us - broker.slow_since_us >= options_.demote_us) {
        slow.emplace_back(-WorstOf(broker, now_us), id);
      }
      continue;
    }
    const bool cleared = broker.fast_since_us >= 0 &&
                         now_us - broker.fast_since_us >= options_.clear_us;
    tell(cleared ? GrayFailureAction::Kind::kClear
                 : GrayFailureAction::Kind::kDemote,
         id, Text(broker, id, now_us));
  }
  std::sort(slow.begin(), slow.end());
  for (const auto& [level, id] : slow) {
    if (demoted >= active / 2 && !MUTANT(kMajorityDemoted)) break;
    ++demoted;
    tell(GrayFailureAction::Kind::kDemote, id, Text(brokers_[id], id, now_us));
  }
  return actions;
}

}  // namespace sluice
