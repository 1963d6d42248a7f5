// The one list of configuration keys: what each means, what it may be set to
// and where. A key whose feature does not exist is not in it and is refused.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/metadata/image.h"
#include "sluice/v1/topic.pb.h"

namespace sluice {

inline constexpr char kMinInsyncReplicas[] = "min.insync.replicas";
inline constexpr char kDurability[] = "durability";
inline constexpr char kUncleanLeaderElection[] =
    "unclean.leader.election.enable";
inline constexpr char kCleanupPolicy[] = "cleanup.policy";
inline constexpr char kMaxMessageBytes[] = "max.message.bytes";
inline constexpr char kSegmentBytes[] = "segment.bytes";
inline constexpr char kFlushMessages[] = "flush.messages";
inline constexpr char kFlushMs[] = "flush.ms";
inline constexpr char kReplicaLagTimeMaxMs[] = "replica.lag.time.max.ms";
inline constexpr char kProducerIdExpirationMs[] =
    "producer.id.expiration.ms";
inline constexpr char kGroupInitialRebalanceDelayMs[] =
    "group.initial.rebalance.delay.ms";
inline constexpr char kGroupMinSessionTimeoutMs[] =
    "group.min.session.timeout.ms";
inline constexpr char kGroupMaxSessionTimeoutMs[] =
    "group.max.session.timeout.ms";
inline constexpr char kGroupMaxSize[] = "group.max.size";
inline constexpr char kOffsetsRetentionMinutes[] = "offsets.retention.minutes";
inline constexpr char kOffsetsViewCheckpointBytes[] =
    "offsets.view.checkpoint.bytes";
inline constexpr char kReplicaCatchUpBytes[] =
    "replica.catch.up.bytes.per.second";
inline constexpr char kGrayFailureLatencyMs[] = "gray.failure.latency.ms";
inline constexpr char kGrayFailureRatio[] = "gray.failure.ratio";
inline constexpr char kGrayFailureDemoteMs[] = "gray.failure.demote.ms";
inline constexpr char kGrayFailureClearMs[] = "gray.failure.clear.ms";
inline constexpr char kNumPartitions[] = "num.partitions";
inline constexpr char kDefaultReplicationFactor[] =
    "default.replication.factor";

struct ConfigKey {
  enum class Type { kNumber, kChoice };
  // Where a value may be set.
  enum class Scope {
    kTopic,  // on a topic; `--set` on a node gives its default
    // On a topic; `--set` counts on controllers, which write it into each new
    // topic: leader and controller must never disagree about it.
    kTopicAgreed,
    kNode,  // `--set` only
  };
  std::string_view name;
  Type type;
  Scope scope;
  int64_t low;  // kNumber
  int64_t high;
  std::vector<std::string_view> choices;  // kChoice
  std::string_view default_value;         // "": computed, see doc
  std::string_view doc;
};

// min.insync.replicas where nobody set it.
int DefaultMinIsr(int replication_factor);

struct TopicSettings {
  int32_t min_insync_replicas = 1;
  bool durable = true;  // durability=disk
  bool unclean_elections = false;
  int32_t max_message_bytes = 0;
  int64_t segment_bytes = 0;
  // durability=memory: a log is synced after so many records, and when the
  // oldest that is not synced is so old.
  int64_t flush_messages = INT64_MAX;
  int64_t flush_ms = INT64_MAX;

  bool operator==(const TopicSettings&) const = default;
};

// What an election has to know of its topic.
struct ElectionRules {
  int min_isr = 1;
  bool unclean = false;  // unclean.leader.election.enable
};

// Immutable after Make. One a process.
class ConfigRegistry {
 public:
  // `node_defaults` are the values of `sluiced --set key=value`. INVALID_CONFIG
  // names the key, what is wrong and the keys that exist.
  static absl::StatusOr<std::shared_ptr<const ConfigRegistry>> Make(
      std::map<std::string, std::string> node_defaults);

  static const std::vector<ConfigKey>& Keys();

  // INVALID_CONFIG unless `key` may be set to `value` on a topic of that kind.
  static absl::Status CheckTopicConfig(const std::string& key,
                                       const std::string& value,
                                       internal::v1::TopicRecord::Kind kind);

  // The topic's own value, else the node's, else the default. min ISR without
  // a value is RF-1 from RF 3 on, else 1.
  TopicSettings SettingsOf(const TopicImage& topic) const;
  int MinIsrOf(const TopicImage& topic) const;
  bool IsDurable(const TopicImage& topic) const;  // durability=disk
  // All that is acknowledged is on the disks of the in-sync replicas: a
  // replica that lost its power may still hold all of it.
  bool PromisesDisk(const TopicImage& topic,
                    const PartitionImage& partition) const {
    return IsDurable(topic) && !partition.durability_settling;
  }
  ElectionRules ElectionRulesOf(const TopicImage& topic) const;
  // Every topic key with its value and where that comes from.
  std::vector<v1::ConfigEntry> Describe(
      const std::map<std::string, std::string>& overrides,
      int replication_factor) const;
  // One topic key, with what it is by default, may be and means.
  // INVALID_CONFIG: there is none of that name.
  absl::StatusOr<v1::ConfigEntry> Explain(
      const std::string& key,
      const std::map<std::string, std::string>& overrides,
      int replication_factor) const;
  static std::vector<std::string> TopicKeys();

  // Node scope. `key` must exist and be a number.
  int64_t NodeNumber(std::string_view key) const;

  // What a controller writes into a new topic beyond what its creator asked:
  // the node's values of agreed keys.
  std::map<std::string, std::string> AgreedDefaults(
      const std::map<std::string, std::string>& asked,
      int replication_factor) const;

 private:
  struct Value {
    std::string text;
    v1::ConfigEntry::Source source;
  };
  explicit ConfigRegistry(std::map<std::string, std::string> node_defaults)
      : node_defaults_(std::move(node_defaults)) {}
  Value Effective(const ConfigKey& key,
                  const std::map<std::string, std::string>& overrides,
                  int replication_factor) const;

  const std::map<std::string, std::string> node_defaults_;
};

}  // namespace sluice
