#include "controller/metadata/config_registry.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"

namespace sluice {
namespace {

using Scope = ConfigKey::Scope;
using Type = ConfigKey::Type;

const ConfigKey* FindKey(std::string_view name) {
  for (const ConfigKey& key : ConfigRegistry::Keys()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

bool OnTopics(const ConfigKey& key) { return key.scope != Scope::kNode; }

std::string KnownKeys(bool of_topics) {
  std::string text;
  for (const ConfigKey& key : ConfigRegistry::Keys()) {
    if (of_topics && !OnTopics(key)) continue;
    text += StrCat(text.empty() ? "" : ", ", key.name);
  }
  return text;
}

std::optional<int64_t> NumberOf(std::string_view text) {
  int64_t number = 0;
  // SimpleAtoi would take blanks around it.
  if (text.empty() || text.front() == ' ' || text.back() == ' ' ||
      !absl::SimpleAtoi(AbslView(text), &number)) {
    return std::nullopt;
  }
  return number;
}

std::string AllowedText(const ConfigKey& key) {
  if (key.type == Type::kNumber) return StrCat(key.low, "..", key.high);
  std::string choices;
  for (const std::string_view choice : key.choices) {
    choices += StrCat(choices.empty() ? "" : ", ", choice);
  }
  return choices;
}

absl::Status CheckValue(const ConfigKey& key, const std::string& value) {
  if (key.type == Type::kNumber) {
    const auto number = NumberOf(value);
    if (number.has_value() && *number >= key.low && *number <= key.high) {
      return absl::OkStatus();
    }
    return MakeError(ErrorCode::kInvalidConfig, key.name, "=", value,
                     " is not a whole number in ", AllowedText(key));
  }
  if (std::find(key.choices.begin(), key.choices.end(), value) !=
      key.choices.end()) {
    return absl::OkStatus();
  }
  return MakeError(ErrorCode::kInvalidConfig, key.name, "=", value,
                   " is none of: ", AllowedText(key));
}

// What only the cleaner could keep is not promised to users before it exists.
absl::Status CheckCleaner(const ConfigKey& key, const std::string& value) {
  if (key.name != kCleanupPolicy || value == "delete") return absl::OkStatus();
  return MakeError(ErrorCode::kInvalidConfig, key.name, "=", value,
                   " needs a log cleaner, which this version does not have; "
                   "topics of users are kept by: delete");
}

}  // namespace

int DefaultMinIsr(int replication_factor) {
  return replication_factor >= 3 ? replication_factor - 1 : 1;
}

const std::vector<ConfigKey>& ConfigRegistry::Keys() {
  static const auto* const keys = new std::vector<ConfigKey>{
      {kMinInsyncReplicas,
       Type::kNumber,
       Scope::kTopicAgreed,
       1,
       100,
       {},
       "",
       "In-sync replicas that acks=all needs; unset: RF-1 from RF 3 on, else "
       "1."},
      {kDurability,
       Type::kChoice,
       Scope::kTopicAgreed,
       0,
       0,
       {"disk", "memory"},
       "disk",
       "What an acknowledged record is on: the disks of the in-sync replicas, "
       "or their memory."},
      {kUncleanLeaderElection,
       Type::kChoice,
       Scope::kTopicAgreed,
       0,
       0,
       {"false", "true"},
       "false",
       "Whether a replica that is not known to hold all that was committed may "
       "lead when no other is alive: what it lacks is lost."},
      {kCleanupPolicy,
       Type::kChoice,
       Scope::kTopic,
       0,
       0,
       {"delete", "compact"},
       "delete",
       "What becomes of old records; compact keeps the last of each key and is "
       "of internal topics only, until there is a cleaner."},
      {kMaxMessageBytes,
       Type::kNumber,
       Scope::kTopic,
       1024,
       8 << 20,
       {},
       "1048588",
       "The largest record batch taken."},
      {kSegmentBytes,
       Type::kNumber,
       Scope::kTopic,
       4 << 10,
       2147483647,
       {},
       "1073741824",
       "A log segment is closed when it would grow beyond."},
      {kFlushMessages,
       Type::kNumber,
       Scope::kTopic,
       1,
       INT64_MAX,
       {},
       "9223372036854775807",
       "With durability=memory: a replica syncs its log after so many records."},
      {kFlushMs,
       Type::kNumber,
       Scope::kTopic,
       1,
       INT64_MAX,
       {},
       "9223372036854775807",
       "With durability=memory: a replica syncs its log when a record has "
       "waited for so long; looked at ten times a second."},
      {kReplicaLagTimeMaxMs,
       Type::kNumber,
       Scope::kNode,
       100,
       3600000,
       {},
       "10000",
       "A follower that has not caught up for so long leaves the ISR."},
      {kProducerIdExpirationMs,
       Type::kNumber,
       Scope::kNode,
       // No retry of a client may come after its producer is forgotten.
       600000,
       2592000000,
       {},
       "86400000",
       "A partition forgets an idempotent producer that has written nothing "
       "to it for so long."},
      {kGroupInitialRebalanceDelayMs,
       Type::kNumber,
       Scope::kNode,
       0,
       60000,
       {},
       "3000",
       "The first rebalance of an empty group waits so long for more "
       "members."},
      {kGroupMinSessionTimeoutMs,
       Type::kNumber,
       Scope::kNode,
       1,
       86400000,
       {},
       "6000",
       "The shortest session timeout that a member may ask for."},
      {kGroupMaxSessionTimeoutMs,
       Type::kNumber,
       Scope::kNode,
       1,
       86400000,
       {},
       "1800000",
       "The longest session timeout that a member may ask for."},
      {kGroupMaxSize,
       Type::kNumber,
       Scope::kNode,
       1,
       10000,
       {},
       "10000",
       "Members that one group may have."},
      {"offsets.topic.num.partitions",  // internal_topics.h
       Type::kNumber,
       Scope::kNode,
       1,
       1000,
       {},
       "16",
       "Partitions that __consumer_offsets is made with; once it is there "
       "nothing changes it."},
      {kOffsetsRetentionMinutes,
       Type::kNumber,
       Scope::kNode,
       -1,
       52560000,
       {},
       "-1",
       "Committed offsets that nobody uses any more are kept so long; -1: as "
       "long as their topic exists."},
      {kOffsetsViewCheckpointBytes,
       Type::kNumber,
       Scope::kNode,
       4 << 10,
       int64_t{1} << 40,
       {},
       "67108864",
       "A checkpoint of a directory's views of committed offsets is made each "
       "time they have taken so many bytes of their logs: a view that is lost "
       "is filled from it and replays the rest."},
      {kReplicaCatchUpBytes,
       Type::kNumber,
       Scope::kNode,
       // A frame a tick of a shard.
       1 << 20,
       int64_t{1} << 40,
       {},
       "33554432",
       "What a leader's broker sends a second, at most, to replicas that are "
       "far behind while clients write or read there; never less than a "
       "quarter more than what is written to it, or they would stay behind."},
      {kGrayFailureLatencyMs,
       Type::kNumber,
       Scope::kNode,
       1,
       3600000,
       {},
       "1000",
       "A broker whose disk or shard takes less for a sync or an append is "
       "never taken for a gray failure. On controllers; 3600000 turns "
       "demotions off."},
      {kGrayFailureRatio,
       Type::kNumber,
       Scope::kNode,
       2,
       1000000,
       {},
       "10",
       "How many times as long as those of the median of its peers a broker's "
       "syncs or appends take in a gray failure. On controllers."},
      {kGrayFailureDemoteMs,
       Type::kNumber,
       Scope::kNode,
       0,
       3600000,
       {},
       "2000",
       "How long that lasts before the broker is demoted. On controllers."},
      {kGrayFailureClearMs,
       Type::kNumber,
       Scope::kNode,
       0,
       86400000,
       {},
       "30000",
       "How long a demoted broker must be as fast as its peers before it may "
       "lead again. On controllers."},
      {kNumPartitions,
       Type::kNumber,
       Scope::kNode,
       1,
       10000,
       {},
       "1",
       "Partitions of a topic whose creator names no number."},
      {kDefaultReplicationFactor,
       Type::kNumber,
       Scope::kNode,
       1,
       100,
       {},
       "3",
       "Replicas of a partition whose creator names no number; fewer when "
       "fewer brokers are alive."},
  };
  return *keys;
}

absl::StatusOr<std::shared_ptr<const ConfigRegistry>> ConfigRegistry::Make(
    std::map<std::string, std::string> node_defaults) {
  for (const auto& [name, value] : node_defaults) {
    const ConfigKey* key = FindKey(name);
    if (key == nullptr) {
      return MakeError(ErrorCode::kInvalidConfig,
                       "no configuration key is "
                       "called ",
                       name, "; --set knows: ", KnownKeys(false));
    }
    RETURN_IF_ERROR(CheckValue(*key, value));
    RETURN_IF_ERROR(CheckCleaner(*key, value));
  }
  return std::shared_ptr<const ConfigRegistry>(
      new ConfigRegistry(std::move(node_defaults)));
}

namespace {

absl::StatusOr<const ConfigKey*> FindTopicKey(const std::string& name) {
  const ConfigKey* key = FindKey(name);
  if (key == nullptr) {
    return MakeError(ErrorCode::kInvalidConfig,
                     "no configuration key is "
                     "called ",
                     name, "; topics know: ", KnownKeys(true));
  }
  if (!OnTopics(*key)) {
    return MakeError(
        ErrorCode::kInvalidConfig, name, " is set on nodes (",
        "sluiced --set), not on topics; topics know: ", KnownKeys(true));
  }
  return key;
}

}  // namespace

absl::Status ConfigRegistry::CheckTopicConfig(
    const std::string& name, const std::string& value,
    internal::v1::TopicRecord::Kind kind) {
  ASSIGN_OR_RETURN(const ConfigKey* key, FindTopicKey(name));
  RETURN_IF_ERROR(CheckValue(*key, value));
  return kind == internal::v1::TopicRecord::KIND_INTERNAL
             ? absl::OkStatus()
             : CheckCleaner(*key, value);
}

ConfigRegistry::Value ConfigRegistry::Effective(
    const ConfigKey& key, const std::map<std::string, std::string>& overrides,
    int replication_factor) const {
  const std::string name(key.name);
  if (const auto own = overrides.find(name); own != overrides.end()) {
    return {own->second, v1::ConfigEntry::SOURCE_TOPIC};
  }
  if (key.scope != Scope::kTopicAgreed) {
    if (const auto node = node_defaults_.find(name);
        node != node_defaults_.end()) {
      return {node->second, v1::ConfigEntry::SOURCE_NODE};
    }
  }
  if (key.name == kMinInsyncReplicas) {
    return {StrCat(DefaultMinIsr(replication_factor)),
            v1::ConfigEntry::SOURCE_DEFAULT};
  }
  return {std::string(key.default_value), v1::ConfigEntry::SOURCE_DEFAULT};
}

TopicSettings ConfigRegistry::SettingsOf(const TopicImage& topic) const {
  const int rf = topic.replication_factor();
  const auto text = [&](std::string_view name) {
    return Effective(*FindKey(name), topic.configs, rf).text;
  };
  const auto number = [&](std::string_view name) {
    const auto value = NumberOf(text(name));
    INVARIANT(value.has_value(), "topic ", topic.name, ": ", name, "=",
              text(name), " was checked before it was written");
    return *value;
  };
  TopicSettings settings;
  settings.min_insync_replicas =
      static_cast<int32_t>(number(kMinInsyncReplicas));
  settings.durable = text(kDurability) == "disk";
  settings.unclean_elections = text(kUncleanLeaderElection) == "true";
  settings.max_message_bytes = static_cast<int32_t>(number(kMaxMessageBytes));
  settings.segment_bytes = number(kSegmentBytes);
  settings.flush_messages = number(kFlushMessages);
  settings.flush_ms = number(kFlushMs);
  return settings;
}

bool ConfigRegistry::IsDurable(const TopicImage& topic) const {
  const auto own = topic.configs.find(kDurability);
  return own == topic.configs.end() || own->second == "disk";
}

int ConfigRegistry::MinIsrOf(const TopicImage& topic) const {
  const auto own = topic.configs.find(kMinInsyncReplicas);
  if (own != topic.configs.end()) {
    if (const auto value = NumberOf(own->second)) {
      return static_cast<int>(*value);
    }
  }
  return DefaultMinIsr(topic.replication_factor());
}

ElectionRules ConfigRegistry::ElectionRulesOf(const TopicImage& topic) const {
  const auto unclean = topic.configs.find(kUncleanLeaderElection);
  return {MinIsrOf(topic),
          unclean != topic.configs.end() && unclean->second == "true"};
}

std::vector<v1::ConfigEntry> ConfigRegistry::Describe(
    const std::map<std::string, std::string>& overrides,
    int replication_factor) const {
  std::vector<v1::ConfigEntry> entries;
  for (const ConfigKey& key : Keys()) {
    if (!OnTopics(key)) continue;
    Value value = Effective(key, overrides, replication_factor);
    v1::ConfigEntry entry;
    entry.set_name(std::string(key.name));
    entry.set_value(std::move(value.text));
    entry.set_source(value.source);
    entries.push_back(std::move(entry));
  }
  return entries;
}

absl::StatusOr<v1::ConfigEntry> ConfigRegistry::Explain(
    const std::string& name,
    const std::map<std::string, std::string>& overrides,
    int replication_factor) const {
  ASSIGN_OR_RETURN(const ConfigKey* key, FindTopicKey(name));
  Value value = Effective(*key, overrides, replication_factor);
  v1::ConfigEntry entry;
  entry.set_name(name);
  entry.set_value(std::move(value.text));
  entry.set_source(value.source);
  entry.set_default_value(Effective(*key, {}, replication_factor).text);
  entry.set_allowed(AllowedText(*key));
  entry.set_documentation(std::string(key->doc));
  return entry;
}

std::vector<std::string> ConfigRegistry::TopicKeys() {
  std::vector<std::string> names;
  for (const ConfigKey& key : Keys()) {
    if (OnTopics(key)) names.emplace_back(key.name);
  }
  return names;
}

int64_t ConfigRegistry::NodeNumber(std::string_view name) const {
  const ConfigKey* key = FindKey(name);
  INVARIANT(key != nullptr && key->type == Type::kNumber, "key ", name);
  const auto own = node_defaults_.find(std::string(name));
  const auto value =
      NumberOf(own == node_defaults_.end() ? key->default_value : own->second);
  INVARIANT(value.has_value(), "key ", name, " has no number");
  return *value;
}

std::map<std::string, std::string> ConfigRegistry::AgreedDefaults(
    const std::map<std::string, std::string>& asked,
    int replication_factor) const {
  std::map<std::string, std::string> agreed;
  for (const ConfigKey& key : Keys()) {
    const std::string name(key.name);
    const auto own = node_defaults_.find(name);
    if (key.scope != Scope::kTopicAgreed || asked.count(name) ||
        own == node_defaults_.end()) {
      continue;
    }
    std::string value = own->second;
    if (key.name == kMinInsyncReplicas) {
      // A default that suits RF 3 must not make RF 1 unwritable.
      value = StrCat(std::min<int64_t>(*NumberOf(value), replication_factor));
    }
    agreed[name] = std::move(value);
  }
  return agreed;
}

}  // namespace sluice
