#include <CLI/App.hpp>
#include <iostream>

#include "tools/commands.h"
#include "tools/output.h"

namespace sluice::cli {
namespace {

std::string RoleOf(const v1::DescribeClusterResponse& cluster, int32_t id,
                   bool is_broker) {
  bool is_controller = false;
  for (const auto& controller : cluster.controllers()) {
    is_controller |= controller.id() == id;
  }
  if (!is_controller) return "broker";
  const bool active = cluster.active_controller_id() == id;
  return std::string(active ? "CONTROLLER" : "controller") +
         (is_broker ? ",broker" : "");
}

std::string PublicAddress(const v1::Broker& broker) {
  for (const auto& listener : broker.listeners()) {
    if (listener.name() == "PUBLIC") {
      return listener.endpoint().host() + ":" +
             std::to_string(listener.endpoint().port());
    }
  }
  return "-";
}

// A broker that has just started has no image of the cluster: its zeros are not
// numbers of topics.
std::string TopicsOf(const v1::DescribeClusterResponse& cluster) {
  if (cluster.metadata_offset() == 0) {
    return "not known to broker " +
           std::to_string(cluster.answering_node_id()) + " yet";
  }
  return std::to_string(cluster.topic_count()) + " with " +
         std::to_string(cluster.partition_count()) + " partitions";
}

std::string Mebibytes(int64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

// Of the node that answered: the others tell theirs when they are asked.
void PrintMemory(const v1::DescribeClusterResponse& cluster) {
  if (cluster.memory_budgets().empty()) return;
  std::cout << "\nmemory of node " << cluster.answering_node_id()
            << (cluster.resident_bytes() > 0
                    ? ", " + Mebibytes(cluster.resident_bytes()) + " resident"
                    : "")
            << "\n";
  Table table({"FOR", "USED", "LIMIT", "REFUSED", "FLAG"});
  for (const auto& budget : cluster.memory_budgets()) {
    table.Add({budget.name(), Mebibytes(budget.used_bytes()),
               Mebibytes(budget.max_bytes()), std::to_string(budget.refused()),
               budget.flag()});
  }
  table.Print(std::cout);
}

void PrintTable(const v1::DescribeClusterResponse& cluster) {
  std::cout << "cluster      " << cluster.cluster_name() << " ("
            << cluster.cluster_id() << ")\n"
            << "controller   "
            << (cluster.active_controller_id() > 0
                    ? std::to_string(cluster.active_controller_id())
                    : "none")
            << ", term " << cluster.metadata_term() << ", metadata offset "
            << cluster.metadata_offset() << "\n"
            << "topics       " << TopicsOf(cluster) << "\n"
            << "health       "
            << (cluster.issues().empty()
                    ? "ok"
                    : std::to_string(cluster.issues_size()) +
                          " issues: sluice cluster health")
            << "\n\n";
  Table table({"NODE", "ROLES", "ADDRESS", "RACK", "STATE", "LEADS",
               "REPLICAS", "EPOCH"});
  for (const auto& broker : cluster.brokers()) {
    table.Add({std::to_string(broker.id()),
               RoleOf(cluster, broker.id(), true), PublicAddress(broker),
               broker.rack().empty() ? "-" : broker.rack(),
               broker.fenced() ? "fenced"
               : broker.stopping() ? "stopping"
               : broker.demoted()  ? "demoted"
                                   : "up",
               std::to_string(broker.leader_count()),
               std::to_string(broker.replica_count()),
               std::to_string(broker.broker_epoch())});
  }
  for (const auto& controller : cluster.controllers()) {
    bool is_broker = false;
    for (const auto& broker : cluster.brokers()) {
      is_broker |= broker.id() == controller.id();
    }
    if (is_broker) continue;
    table.Add({std::to_string(controller.id()),
               RoleOf(cluster, controller.id(), false),
               controller.endpoint().host() + ":" +
                   std::to_string(controller.endpoint().port()),
               "-", "-", "-", "-", "-"});
  }
  table.Print(std::cout);
  PrintMemory(cluster);
}

absl::Status Info(Context* context) {
  if (PrintedShape(context->format(), v1::DescribeClusterResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  const auto cluster = (*client)->DescribeCluster(context->timeout_us());
  if (!cluster.ok()) return cluster.status();
  Print(context->format(), *cluster, [&](OutputFormat format) {
    if (format != OutputFormat::kName) return PrintTable(*cluster);
    for (const auto& broker : cluster->brokers()) {
      std::cout << broker.id() << '\n';
    }
  });
  return absl::OkStatus();
}

}  // namespace

void AddClusterInfo(CLI::App* cluster, Context* context) {
  CLI::App* command =
      cluster->add_subcommand("info", "nodes, roles, controller, epochs, memory");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice cluster info\n  sluice cluster info -o json");
  context->OnChosen(command, [context] { return Info(context); });
}

}  // namespace sluice::cli
