// What a person or a file tells a node or a client: the flags of sluiced, a
// client's bootstrap list, values of settings (broker/node_config.h,
// client/client_types.h, controller/metadata/config_registry.h).
//
// Property: text is refused with the codes that are promised, or is a
// configuration that is whole: addresses and ids in range, no id twice, no
// listener beyond loopback unless that was said; an endpoint prints as the
// text it came from. A value that a topic may have gives settings in the
// documented range, without breaking an INVARIANT.
//
// Input: a byte of choices, then texts, each ended by a line feed.
#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "broker/node_config.h"
#include "client/client_types.h"
#include "common/base/error.h"
#include "common/base/invariant.h"
#include "common/base/str_cat.h"
#include "controller/metadata/config_registry.h"
#include "test/fuzz/fuzz_input.h"

namespace sluice::fuzz {
namespace {

std::string NextLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string line(text.substr(0, end));
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

void CheckEndpoint(const api::Endpoint& endpoint) {
  INVARIANT(!endpoint.host.empty() && endpoint.port > 0 &&
                endpoint.port <= 65535,
            "endpoint ", endpoint.ToString());
  INVARIANT(api::ParseEndpoint(endpoint.ToString()) == endpoint, "endpoint ",
            endpoint.ToString(), " does not read back");
}

void CheckBootstrap(const std::string& text) {
  const auto endpoints = ParseBootstrap(text);
  if (!endpoints.ok()) {
    INVARIANT(CodeOf(endpoints.status()) == ErrorCode::kInvalidRequest,
              "not promised: ", endpoints.status().ToString());
    return;
  }
  INVARIANT(!endpoints->empty(), "a bootstrap list of nobody");
  for (const api::Endpoint& endpoint : *endpoints) CheckEndpoint(endpoint);
}

void CheckNode(const NodeConfig& config) {
  INVARIANT(config.node_id.value() >= 1 &&
                config.node_id.value() <= kNodeIdMax,
            "node id ", config.node_id);
  INVARIANT(config.is_controller || config.is_broker, "a node without a role");
  CheckEndpoint(config.internal_listen);
  CheckEndpoint(config.internal_advertise);
  INVARIANT(config.insecure || IsLoopback(config.internal_listen.host),
            "listens beyond loopback: ", config.internal_listen.ToString());
  if (config.is_broker) {
    CheckEndpoint(config.listen);
    CheckEndpoint(config.advertise);
    INVARIANT(config.insecure || IsLoopback(config.listen.host),
              "listens beyond loopback: ", config.listen.ToString());
  }
  std::set<NodeId> ids;
  for (const ControllerAddress& controller : config.controllers) {
    CheckEndpoint(controller.endpoint);
    INVARIANT(ids.insert(controller.id).second, "controller ", controller.id,
              " twice");
  }
  INVARIANT(!config.controllers.empty(), "a node without controllers");
  INVARIANT(!config.is_controller || ids.count(config.node_id) == 1,
            "a controller that is not among them");
  INVARIANT(!config.data_dirs.empty(), "a node without a directory");
  for (const std::string& directory : config.data_dirs) {
    INVARIANT(!directory.empty(), "a directory without a name");
  }
  INVARIANT(config.shards >= 1 && config.shards <= kShardsMax,
            config.shards, " shards");
}

void CheckRange(std::string_view name, int64_t value) {
  for (const ConfigKey& key : ConfigRegistry::Keys()) {
    if (key.name != name) continue;
    INVARIANT(value >= key.low && value <= key.high, name, "=", value,
              " is not in ", key.low, "..", key.high);
    return;
  }
  INVARIANT(false, "no key is called ", name);
}

// A topic with settings that were checked one by one.
void CheckSettings(const ConfigRegistry& registry,
                   const std::map<std::string, std::string>& configs) {
  TopicImage topic;
  topic.name = "t";
  topic.configs = configs;
  const TopicSettings settings = registry.SettingsOf(topic);
  CheckRange(kMinInsyncReplicas, settings.min_insync_replicas);
  CheckRange(kMaxMessageBytes, settings.max_message_bytes);
  CheckRange(kSegmentBytes, settings.segment_bytes);
  INVARIANT(registry.MinIsrOf(topic) >= 1, "min ISR ",
            registry.MinIsrOf(topic));
  (void)registry.Describe(configs, 3);
  const auto agreed = registry.AgreedDefaults(configs, 3);
  for (const auto& [key, value] : agreed) {
    const absl::Status fits = ConfigRegistry::CheckTopicConfig(
        key, value, internal::v1::TopicRecord::KIND_USER);
    INVARIANT(fits.ok(), "an agreed default: ", fits.ToString());
  }
}

void CheckRegistry(const std::map<std::string, std::string>& node_settings,
                   std::string_view text) {
  const auto registry = ConfigRegistry::Make(node_settings);
  if (!registry.ok()) {
    INVARIANT(CodeOf(registry.status()) == ErrorCode::kInvalidConfig,
              "not promised: ", registry.status().ToString());
    return;
  }
  (void)(*registry)->NodeNumber(kNumPartitions);
  std::map<std::string, std::string> configs;
  while (!text.empty()) {
    const std::string line = NextLine(text);
    const size_t equals = std::min(line.find('='), line.size());
    const std::string key = line.substr(0, equals);
    const std::string value =
        equals < line.size() ? line.substr(equals + 1) : "";
    const absl::Status fits = ConfigRegistry::CheckTopicConfig(
        key, value, internal::v1::TopicRecord::KIND_INTERNAL);
    INVARIANT(fits.ok() || CodeOf(fits) == ErrorCode::kInvalidConfig,
              "not promised: ", fits.ToString());
    if (fits.ok()) configs[key] = value;
  }
  CheckSettings(**registry, configs);
}

void Check(uint8_t choices, std::string_view text) {
  NodeFlags flags;
  flags.insecure = (choices & 1) != 0;
  flags.node_id = choices >> 4;
  flags.shards = (choices >> 1) & 7;
  flags.roles = NextLine(text);
  flags.cluster_name = NextLine(text);
  flags.listen = NextLine(text);
  flags.advertise = NextLine(text);
  flags.internal_listen = NextLine(text);
  flags.internal_advertise = NextLine(text);
  flags.controllers = NextLine(text);
  flags.data_dirs = NextLine(text);
  flags.metrics_listen = NextLine(text);
  flags.settings = NextLine(text);
  CheckBootstrap(NextLine(text));
  std::map<std::string, std::string> settings;
  if (const auto config = ParseNodeFlags(flags, 2); config.ok()) {
    CheckNode(*config);
    settings = config->settings;
  } else {
    INVARIANT(CodeOf(config.status()) == ErrorCode::kInvalidRequest ||
                  CodeOf(config.status()) == ErrorCode::kInsecureListener,
              "not promised: ", config.status().ToString());
  }
  CheckRegistry(settings, text);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::fuzz::FuzzInput input(data, size);
  const uint8_t choices = input.U8();
  sluice::fuzz::Check(choices, input.Rest());
  return 0;
}
