#include <CLI/App.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/topic_lookup.h"
#include "tools/watch_loop.h"

namespace sluice::cli {
namespace {

constexpr int64_t kWatchEveryUs = 500'000;

struct Options {
  std::vector<std::string> names;
  bool under_replicated = false;
  bool under_min_isr = false;
  bool unavailable = false;
  bool internal = false;
  bool watch = false;

  bool filters() const {
    return under_replicated || under_min_isr || unavailable;
  }
};

int MinIsrOf(const v1::TopicDescription& topic) {
  for (const auto& config : topic.configs()) {
    if (config.name() == "min.insync.replicas") {
      return std::atoi(config.value().c_str());
    }
  }
  return 1;
}

bool Shown(const Options& options, int min_isr,
           const v1::PartitionMetadata& partition) {
  if (!options.filters()) return true;
  return (options.under_replicated &&
          partition.isr_size() < partition.replicas_size()) ||
         (options.under_min_isr && partition.isr_size() < min_isr) ||
         (options.unavailable && partition.leader_id() <= 0);
}

// Leaves only the partitions that the filters let through.
void Filter(const Options& options, v1::DescribeTopicsResponse& response) {
  if (!options.filters()) return;
  for (auto& topic : *response.mutable_topics()) {
    const int min_isr = MinIsrOf(topic);
    std::map<int32_t, bool> shown;
    auto* partitions = topic.mutable_metadata()->mutable_partitions();
    for (const auto& partition : *partitions) {
      shown[partition.partition()] = Shown(options, min_isr, partition);
    }
    partitions->erase(
        std::remove_if(partitions->begin(), partitions->end(),
                       [&](const auto& p) { return !shown[p.partition()]; }),
        partitions->end());
    auto* logs = topic.mutable_logs();
    logs->erase(
        std::remove_if(logs->begin(), logs->end(),
                       [&](const auto& l) { return !shown[l.partition()]; }),
        logs->end());
  }
}

std::vector<std::string> Row(const v1::PartitionMetadata& partition,
                             const v1::PartitionLog* log, bool wide) {
  const bool known = log != nullptr && !log->has_error();
  const auto number = [&](int64_t value) {
    return known ? std::to_string(value) : std::string("?");
  };
  std::vector<std::string> row = {
      std::to_string(partition.partition()),
      partition.leader_id() > 0 ? std::to_string(partition.leader_id())
                                : "none",
      std::to_string(partition.leader_epoch()),
      Joined(partition.replicas()),
      Joined(partition.isr()),
      Joined(partition.elr()),
      number(known ? log->high_watermark() : 0),
      number(known ? log->log_end_offset() : 0),
      known ? HumanBytes(static_cast<double>(log->size_bytes())) : "?"};
  if (wide) {
    row.push_back(number(known ? log->log_start_offset() : 0));
    row.push_back(number(known ? log->durable_end_offset() : 0));
    row.push_back(std::to_string(partition.partition_epoch()));
    row.push_back(Joined(partition.unverified_elr()));
    row.push_back(Joined(partition.offline_replicas()));
  }
  return row;
}

template <class Ids>
bool Has(const Ids& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// What the controllers hold of a replica; an unverified one has not reported
// what its log holds since its broker stopped unclean.
std::string StateOf(const v1::PartitionMetadata& partition, int32_t broker) {
  std::string state = "out of sync";
  if (Has(partition.failed_replicas(), broker)) {
    state = "FAILED";
  } else if (partition.leader_id() == broker) {
    state = "leader";
  } else if (Has(partition.isr(), broker)) {
    state = "in sync";
  } else if (Has(partition.elr(), broker)) {
    state = "eligible";
  } else if (Has(partition.unverified_elr(), broker)) {
    state = "unverified";
  }
  if (Has(partition.offline_replicas(), broker)) state += ", down";
  return state;
}

// Both offsets of a follower, as its leader heard them; without a leader, what
// each replica told of its log.
std::vector<std::string> ReplicaRow(const v1::PartitionMetadata& partition,
                                    const v1::PartitionLog* log,
                                    int32_t broker) {
  std::string appended = "?", durable = "?", lag = "?", caught_up = "?";
  const bool known = log != nullptr && !log->has_error();
  if (known && partition.leader_id() == broker) {
    appended = std::to_string(log->log_end_offset());
    durable = std::to_string(log->durable_end_offset());
    lag = "0";
    caught_up = "-";
  } else if (known) {
    for (const auto& replica : log->replicas()) {
      if (replica.broker_id() != broker || replica.appended_offset() < 0) {
        continue;
      }
      appended = std::to_string(replica.appended_offset());
      durable = std::to_string(replica.durable_offset());
      // What counts of a follower (replication.md 2).
      const int64_t position = log->durability() == "disk"
                                   ? replica.durable_offset()
                                   : replica.appended_offset();
      lag = std::to_string(log->log_end_offset() - position);
      caught_up = replica.last_caught_up_ms() < 0
                      ? "never"
                      : std::to_string(replica.last_caught_up_ms()) + " ms ago";
    }
  }
  for (const auto& told : partition.candidates()) {
    if (told.broker_id() != broker || told.failed()) continue;
    appended = std::to_string(told.log_end_offset());
  }
  return {std::to_string(partition.partition()), std::to_string(broker),
          StateOf(partition, broker),            appended,
          durable,                               lag,
          caught_up};
}

// What a table has no room for.
void PrintNotes(const std::string& topic,
                const v1::PartitionMetadata& partition) {
  const std::string name =
      topic + "-" + std::to_string(partition.partition());
  if (!partition.failed_replicas().empty()) {
    std::cout << "note    " << name << ": the replicas on brokers "
              << Joined(partition.failed_replicas())
              << " FAILED; sluice partition reset-replica --help\n";
  }
  if (partition.leader_id() <= 0) {
    std::cout << "note    " << name << ": nobody leads; the last full ISR was "
              << Joined(partition.last_full_isr())
              << (partition.unclean_ordered()
                      ? ", an unclean election is ordered"
                      : "");
    for (const auto& told : partition.candidates()) {
      std::cout << "; broker " << told.broker_id()
                << (told.failed()
                        ? std::string(" cannot use its log")
                        : " has a log to " +
                              std::to_string(told.log_end_offset()) +
                              " of epoch " +
                              std::to_string(told.last_epoch()));
    }
    std::cout << "\n";
  }
  if (partition.has_unclean_loss()) {
    const auto& loss = partition.unclean_loss();
    std::cout << "note    " << name << ": broker " << loss.leader_id()
              << " was elected unclean in epoch "
              << partition.last_unclean_leader_epoch()
              << "; what was acknowledged before it from offset "
              << loss.first_offset() << " on may be lost (known end "
              << loss.known_end_offset() << ")\n";
  }
}

void PrintReplicas(const v1::TopicDescription& topic,
                   const std::map<int32_t, const v1::PartitionLog*>& logs) {
  Table table({"PARTITION", "REPLICA", "STATE", "APPENDED", "DURABLE", "LAG",
               "CAUGHT UP"});
  for (const auto& partition : topic.metadata().partitions()) {
    const auto log = logs.find(partition.partition());
    for (const int32_t broker : partition.replicas()) {
      table.Add(ReplicaRow(partition,
                           log == logs.end() ? nullptr : log->second, broker));
    }
  }
  std::cout << '\n';
  table.Print(std::cout);
}

void PrintTopic(const v1::TopicDescription& topic, bool wide) {
  const auto& metadata = topic.metadata();
  std::cout << "topic   " << metadata.name() << " (" << HexOf(metadata.id())
            << ")\n";
  for (const auto& config : topic.configs()) {
    if (config.source() != v1::ConfigEntry::SOURCE_TOPIC && !wide) continue;
    std::cout << "config  " << config.name() << "=" << config.value() << " ("
              << v1::ConfigEntry::Source_Name(config.source()).substr(7)
              << ")\n";
  }
  std::vector<std::string> header = {"PARTITION", "LEADER", "EPOCH",
                                     "REPLICAS",  "ISR",    "ELR",
                                     "HW",        "LEO",    "SIZE"};
  if (wide) {
    header.insert(header.end(),
                  {"START", "DURABLE", "P.EPOCH", "ELR?", "OFFLINE"});
  }
  Table table(header);
  std::map<int32_t, const v1::PartitionLog*> logs;
  for (const auto& log : topic.logs()) logs[log.partition()] = &log;
  for (const auto& partition : metadata.partitions()) {
    const auto log = logs.find(partition.partition());
    table.Add(Row(partition, log == logs.end() ? nullptr : log->second, wide));
  }
  table.Print(std::cout);
  if (wide) PrintReplicas(topic, logs);
  for (const auto& partition : metadata.partitions()) {
    PrintNotes(metadata.name(), partition);
  }
}

void PrintAll(const Context& context, const Options& options,
              const v1::DescribeTopicsResponse& response) {
  Print(context.format(), response, [&](OutputFormat format) {
    bool first = true;
    for (const auto& topic : response.topics()) {
      if (format == OutputFormat::kName) {
        std::cout << topic.metadata().name() << '\n';
        continue;
      }
      if (topic.metadata().has_error() ||
          (options.filters() && topic.metadata().partitions().empty())) {
        continue;
      }
      if (!first) std::cout << '\n';
      first = false;
      PrintTopic(topic, format == OutputFormat::kWide);
    }
  });
}

absl::Status FirstError(const v1::DescribeTopicsResponse& response) {
  for (const auto& topic : response.topics()) {
    if (!topic.metadata().has_error()) continue;
    return TopicError(topic.metadata().name(), topic.metadata().error());
  }
  return absl::OkStatus();
}

// What moves when something happens to a partition; offsets always do.
std::string StateOf(const v1::DescribeTopicsResponse& response) {
  std::string state;
  for (const auto& topic : response.topics()) {
    state += topic.metadata().SerializeAsString();
  }
  return state;
}

absl::Status Describe(Context* context, const Options& options) {
  if (PrintedShape(context->format(), v1::DescribeTopicsResponse())) {
    return absl::OkStatus();
  }
  auto client = context->Client();
  if (!client.ok()) return client.status();
  v1::DescribeTopicsRequest request;
  request.set_include_log(true);
  request.set_include_internal(options.internal);
  for (const std::string& name : options.names) {
    request.add_topics()->set_name(name);
  }
  return WatchLoop(kWatchEveryUs)
      .Run(options.watch, [&]() -> absl::StatusOr<WatchLoop::Sight> {
        ASSIGN_OR_RETURN(
            auto response,
            (*client)->DescribeTopics(request, context->timeout_us()));
        Filter(options, response);
        WatchLoop::Sight sight;
        sight.state = StateOf(response);
        // A topic that is not there, or no more, has nothing left to be
        // watched.
        const absl::Status error = FirstError(response);
        if (!error.ok()) sight.ends = error;
        sight.print = [&, response = std::move(response)] {
          PrintAll(*context, options, response);
        };
        return sight;
      });
}

}  // namespace

void AddTopicDescribe(CLI::App* topic, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = topic->add_subcommand(
      "describe", "leader, epoch, ISR, ELR, HW, LEO, size by partition");
  command->alias("info");
  command->add_option("NAME", options->names, "names; none: all");
  command->add_flag("--under-replicated", options->under_replicated,
                    "only partitions with an ISR that is not full");
  command->add_flag("--under-min-isr", options->under_min_isr,
                    "only partitions that refuse acks=all");
  command->add_flag("--unavailable", options->unavailable,
                    "only partitions without a leader");
  command->add_flag("--internal", options->internal, "internal topics too");
  command->add_flag("-w,--watch", options->watch,
                    "go on, print again when a leader, an ISR or a replica's "
                    "state has changed");
  context->AddCluster(command);
  context->AddOutput(command);
  command->footer(
      "Examples:\n  sluice topic describe orders\n"
      "  sluice topic describe --under-replicated -o wide\n"
      "  sluice topic describe orders --watch\n"
      "Wide shows each replica: its state by the controllers (leader, in sync, "
      "eligible, unverified, out of sync, FAILED), up to where it holds and "
      "has synced, how many records it lacks.");
  context->OnChosen(command, [context, options] {
    return Describe(context, *options);
  });
}

}  // namespace sluice::cli
