// What a local cluster consists of: processes, ports, flags. Values only; the
// processes themselves are dev_cluster.h's.
//
//   DIR/dev.json         the shape
//   DIR/dev.lock         held by the `sluice dev` in the foreground
//   DIR/node-1/          sluiced.flags, sluiced.pid, sluiced.log, data/
//   DIR/controller-1/    the same, with --controllers
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sluice::cli {

struct DevShape {
  static constexpr int kNodesMax = 99;
  static constexpr int kControllersMax = 9;

  int nodes = 3;
  int controllers = 0;  // 0: the first three nodes have both roles
  // Node i: clients P+i, internal P+100+i, metrics P+200+i; controller i
  // (id 100+i): internal P+300+i, metrics P+400+i.
  int port_base = 9000;
  std::string settings;  // sluiced --set

  bool operator==(const DevShape&) const = default;
};

// The last port that a shape may use.
inline constexpr int kDevPortsSpan = 500;

// One process.
struct DevNode {
  std::string name;  // "node-1", "controller-1"
  int id = 0;
  bool is_broker = false;
  bool is_controller = false;
  int client_port = 0;  // 0: no broker
  int internal_port = 0;
  int metrics_port = 0;
};

std::vector<DevNode> NodesOf(const DevShape& shape);
// "127.0.0.1:9001,127.0.0.1:9002".
std::string BootstrapOf(const DevShape& shape);
// The lines of `node`'s sluiced.flags.
std::string FlagsOf(const DevShape& shape, const DevNode& node,
                    const std::string& directory);

std::string DevJson(const DevShape& shape);
// INVALID_REQUEST when it is none, or with counts or ports out of range.
absl::StatusOr<DevShape> ShapeFromJson(std::string_view text);

// What the command line asks of a cluster; unset: as it is, or the default.
struct DevWishes {
  std::optional<int> nodes;
  std::optional<int> controllers;
  std::optional<int> port_base;
  std::optional<std::string> settings;
};
// A new cluster's shape.
DevShape NewShape(const DevWishes& wishes);
// The shape to resume `there` with. INVALID_REQUEST when nodes, controllers or
// ports were asked for otherwise: the quorum's addresses are in its log.
absl::StatusOr<DevShape> ResumedShape(const DevShape& there,
                                      const DevWishes& wishes,
                                      const std::string& directory);

}  // namespace sluice::cli
