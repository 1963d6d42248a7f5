#include "broker/process/node_flags.h"

#include <gflags/gflags.h>

#include <cstdio>
#include <string>
#include <vector>

#include "broker/process/flag_file.h"
#include "common/base/status_macros.h"
#include "common/base/str_cat.h"
#include "common/base/version.h"
#include "common/env/thread_slice.h"

DEFINE_int32(node_id, 0, "this node's number in the cluster, from 1 on");
DEFINE_string(roles, "controller,broker",
              "what it does: controller, broker, or both");
DEFINE_string(cluster_name, "sluice", "the same on every node");
DEFINE_string(listen, "127.0.0.1:9001", "host:port for clients (brokers)");
DEFINE_string(advertise, "",
              "host:port that clients are told; --listen if unset");
DEFINE_string(internal_listen, "127.0.0.1:9101",
              "host:port for brokers and controllers");
DEFINE_string(internal_advertise, "",
              "host:port that they are told; --internal_listen if unset");
DEFINE_string(controllers, "",
              "every controller's id and internal address: "
              "1@host:port,2@host:port,3@host:port");
DEFINE_string(data_dirs, "",
              "directories for logs, separated by commas; a controller keeps "
              "its metadata log in the first");
DEFINE_string(rack, "", "replicas of a partition go to different racks");
DEFINE_string(metrics_listen, "",
              "host:port for /metrics and /healthz over HTTP; none if unset");
DEFINE_int32(shards, 0, "threads that own partitions; 0: one a core");
DEFINE_bool(insecure, false,
            "allow listeners beyond loopback: this version neither encrypts "
            "nor authenticates");
DEFINE_int64(produce_memory_bytes, sluice::MemoryBudgets().produce_bytes,
             "for produce requests that are not answered yet; beyond it they "
             "are refused with BUSY");
DEFINE_int64(fetch_memory_bytes, sluice::MemoryBudgets().fetch_bytes,
             "for answers to fetches that are not sent yet; likewise");
DEFINE_int64(subscribe_memory_bytes, sluice::MemoryBudgets().subscribe_bytes,
             "for pushes to subscribers that are not sent yet; a stream that "
             "reads nothing for 10 s while others wait is ended with BUSY");
DEFINE_int64(replication_memory_bytes,
             sluice::MemoryBudgets().replication_bytes,
             "for batches shipped to followers that have not acknowledged them "
             "yet; beyond it a follower's stream opens with a smaller window");
DEFINE_int64(thread_slice_us, sluice::kThreadSliceUsDefault,
             "how long its threads ask to run at a time (Linux 6.12 and later); "
             "less wakes them sooner on a busy machine and costs throughput; "
             "0: the kernel's own");
DEFINE_int32(realtime_priority, 0,
             "1 to 50: its threads run at that real-time priority (SCHED_FIFO) "
             "and go before everything on the machine that has none; for "
             "machines that share their processors; needs LimitRTPRIO= in the "
             "systemd unit, or CAP_SYS_NICE; 0: none");
DEFINE_string(set, "",
              "key=value[,key=value...]: this node's default of a setting; "
              "may be given several times");

namespace sluice {
namespace {

// gflags keeps the last --set alone, but shows each of them to the validator.
std::string& AllSettings() {
  static auto* const settings = new std::string;
  return *settings;
}

bool CollectSetting(const char*, const std::string& value) {
  if (value.empty()) return true;
  std::string& all = AllSettings();
  all += StrCat(all.empty() ? "" : ",", value);
  return true;
}

DEFINE_validator(set, &CollectSetting);

constexpr const char* kFlagNames[] = {
    "node_id",     "roles",          "cluster_name",
    "controllers", "data_dirs",      "listen",
    "advertise",   "internal_listen", "internal_advertise",
    "metrics_listen", "rack",        "shards",
    "produce_memory_bytes", "fetch_memory_bytes", "subscribe_memory_bytes",
    "replication_memory_bytes", "thread_slice_us", "realtime_priority",
    "set",         "insecure",
};

void PrintHelp() {
  std::printf(
      "sluiced %s: a node of a Sluice cluster (controller, broker, or both)\n"
      "\n"
      "usage: sluiced --node_id=N --controllers=... --data_dirs=... [flags]\n"
      "\n"
      "One node that is a cluster:\n"
      "  sluiced --node_id=1 --controllers=1@127.0.0.1:9101 \\\n"
      "    --data_dirs=/var/lib/sluice\n"
      "\n"
      "One of three, from a file that holds one flag a line:\n"
      "  sluiced --flagfile=/etc/sluice/node-1.flags\n"
      "\n"
      "A broker beside separate controllers, replicas in memory by default:\n"
      "  sluiced --node_id=4 --roles=broker --listen=10.0.0.4:9001 \\\n"
      "    --internal_listen=10.0.0.4:9101 --insecure \\\n"
      "    --controllers=101@10.0.0.1:9301,102@10.0.0.2:9301,"
      "103@10.0.0.3:9301 \\\n"
      "    --data_dirs=/data/a,/data/b --set=durability=memory\n"
      "\n"
      "Three local nodes in one command: sluice dev --nodes 3\n"
      "\n"
      "Flags:\n",
      kVersion);
  for (const char* name : kFlagNames) {
    const auto info = gflags::GetCommandLineFlagInfoOrDie(name);
    std::string text = info.description;
    if (!info.default_value.empty() && info.type != "bool") {
      text += StrCat(" (default ", info.default_value, ")");
    }
    std::printf("  --%-19s %s\n", name, text.c_str());
  }
  std::printf(
      "  --%-19s %s\n  --%-19s %s\n"
      "\n"
      "SIGTERM and SIGINT stop it cleanly: leaderships are handed over, logs\n"
      "closed; a second one ends it at once. Exit codes: 0 stopped, 1 the\n"
      "start was refused, 3 it could not go on without breaking a promise.\n",
      "flagfile", "a file with one flag a line", "version",
      "print the version");
}

bool Asked(const char* flag) {
  return gflags::GetCommandLineFlagInfoOrDie(flag).current_value == "true";
}

std::optional<FlagKind> KindOf(std::string_view name) {
  gflags::CommandLineFlagInfo info;
  if (!gflags::GetCommandLineFlagInfo(std::string(name).c_str(), &info)) {
    return std::nullopt;
  }
  return info.type == "bool" ? FlagKind::kBool : FlagKind::kOther;
}

// Puts what flag files hold in their place. What argv points to then lives as
// long as the process.
absl::Status ExpandArguments(int* argc, char*** argv) {
  static auto* const arguments = new std::vector<std::string>;
  static auto* const pointers = new std::vector<char*>;
  ASSIGN_OR_RETURN(*arguments,
                   ExpandFlagFiles({*argv, *argv + *argc}, KindOf));
  for (std::string& argument : *arguments) {
    pointers->push_back(argument.data());
  }
  pointers->push_back(nullptr);
  *argc = static_cast<int>(arguments->size());
  *argv = pointers->data();
  return absl::OkStatus();
}

}  // namespace

std::optional<int> ParseCommandLine(int* argc, char*** argv,
                                    NodeFlags* flags) {
  gflags::SetVersionString(kVersion);
  if (const absl::Status expanded = ExpandArguments(argc, argv);
      !expanded.ok()) {
    std::fprintf(stderr, "sluiced: %s\n",
                 std::string(expanded.message()).c_str());
    return 1;
  }
  gflags::ParseCommandLineNonHelpFlags(argc, argv, /*remove_flags=*/true);
  if (Asked("help") || Asked("helpshort")) {
    PrintHelp();
    return 0;
  }
  if (Asked("version")) {
    std::printf("sluiced %s\n", kVersion);
    return 0;
  }
  if (*argc > 1) {
    std::fprintf(stderr, "sluiced: '%s' is no flag; see sluiced --help\n",
                 (*argv)[1]);
    return 1;
  }
  flags->node_id = FLAGS_node_id;
  flags->roles = FLAGS_roles;
  flags->cluster_name = FLAGS_cluster_name;
  flags->listen = FLAGS_listen;
  flags->advertise = FLAGS_advertise;
  flags->internal_listen = FLAGS_internal_listen;
  flags->internal_advertise = FLAGS_internal_advertise;
  flags->controllers = FLAGS_controllers;
  flags->data_dirs = FLAGS_data_dirs;
  flags->rack = FLAGS_rack;
  flags->metrics_listen = FLAGS_metrics_listen;
  flags->shards = FLAGS_shards;
  flags->insecure = FLAGS_insecure;
  flags->memory.produce_bytes = FLAGS_produce_memory_bytes;
  flags->memory.fetch_bytes = FLAGS_fetch_memory_bytes;
  flags->memory.subscribe_bytes = FLAGS_subscribe_memory_bytes;
  flags->memory.replication_bytes = FLAGS_replication_memory_bytes;
  flags->thread_slice_us = FLAGS_thread_slice_us;
  flags->realtime_priority = FLAGS_realtime_priority;
  flags->settings = AllSettings();
  return std::nullopt;
}

}  // namespace sluice
