#include "test/sim/fuzz_runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>
#include <vector>

#include "common/base/str_cat.h"
#include "test/sim/child_run.h"
#include "test/sim/minimiser.h"
#include "test/sim/trace_log.h"

namespace sluice::sim {
namespace {

constexpr uint64_t kRunTwiceOneIn = 100;
// By StreamUse.
constexpr const char* kUseNames[] = {"produced", "subscribed", "watched",
                                     "consumed"};
static_assert(std::size(kUseNames) == kStreamUseCount);

// Everything over a range of seeds.
struct Totals {
  int64_t seeds = 0;
  int64_t failed = 0;
  int64_t twice = 0;
  RunNumbers sum;

  void Add(const RunResult& result);
};

void Totals::Add(const RunResult& result) {
  const RunNumbers& n = result.numbers;
  ++seeds;
  failed += result.failure.empty() ? 0 : 1;
  sum.virtual_us += n.virtual_us;
  sum.events += n.events;
  sum.acked += n.acked;
  sum.acked_anew += n.acked_anew;
  sum.read += n.read;
  sum.judged += n.judged;
  sum.judged_so_far += n.judged_so_far;
  sum.all_power_lost += n.all_power_lost;
  sum.views.lost += n.views.lost;
  sum.views.lost_bare += n.views.lost_bare;
  sum.views.checkpoints += n.views.checkpoints;
  sum.views.fills += n.views.fills;
  sum.lies.told += n.lies.told;
  sum.lies.found += n.lies.found;
  sum.lies.healed += n.lies.healed;
  sum.progress_owed += n.progress_owed;
  sum.progress_not_owed += n.progress_not_owed;
  sum.instant_events_most =
      std::max(sum.instant_events_most, n.instant_events_most);
  for (size_t i = 0; i < n.faults.size(); ++i) sum.faults[i] += n.faults[i];
  for (size_t i = 0; i < n.evaluations.size(); ++i) {
    sum.evaluations[i] += n.evaluations[i];
  }
  sum.network.sent += n.network.sent;
  sum.network.delivered += n.network.delivered;
  sum.network.lost += n.network.lost;
  sum.network.delayed += n.network.delayed;
  sum.network.repeated += n.network.repeated;
  sum.network.stalled += n.network.stalled;
  sum.network.reset += n.network.reset;
  sum.network.keepalive_expired += n.network.keepalive_expired;
  for (size_t i = 0; i < n.network.uses.size(); ++i) {
    sum.network.uses[i].opened += n.network.uses[i].opened;
    sum.network.uses[i].heard += n.network.uses[i].heard;
    sum.network.uses[i].broken += n.network.uses[i].broken;
  }
  sum.subscribers.Add(n.subscribers);
  sum.consumed.Add(n.consumed);
  sum.streamed += n.streamed;
}

bool RunsTwice(uint64_t seed) { return seed % kRunTwiceOneIn == 0; }

RunResult RunSeed(uint64_t seed, const DrawLimits& limits) {
  const SwarmPlan plan = DrawPlan(seed, limits);
  RunResult result = FuzzRun(plan, nullptr).Run();
  if (RunsTwice(seed) && result.failure.empty()) {
    const RunResult again = FuzzRun(plan, nullptr).Run();
    if (again.numbers.hash != result.numbers.hash) {
      result.failure = "NONDETERMINISTIC: two runs of the seed differ";
    }
  }
  return result;
}

void PrintCount(const char* what, std::string_view name, int64_t count) {
  std::printf("%-10s %-24.*s %12lld\n", what, static_cast<int>(name.size()),
              name.data(), static_cast<long long>(count));
}

// False: one is zero.
bool PrintCounts(const Totals& totals, bool harms) {
  bool all = true;
  const int kinds = harms ? kFaultKindCount : kDrawnFaultKindCount;
  for (int k = 0; k < kinds; ++k) {
    const int64_t count = totals.sum.faults[static_cast<size_t>(k)];
    PrintCount("fault", NameOf(static_cast<FaultKind>(k)), count);
    all = all && count > 0;
  }
  for (size_t r = 0; r < check::kRuleCount; ++r) {
    const auto count = static_cast<int64_t>(totals.sum.evaluations[r]);
    PrintCount("invariant", check::kRuleNames[r], count);
    all = all && count > 0;
  }
  const auto must = [&all](const char* what, const char* name, int64_t count) {
    PrintCount(what, name, count);
    all = all && count > 0;
  };
  // A few in two hundred seeds, so none in some: printed, and not asked for.
  const auto rare = [](const char* what, const char* name, int64_t count) {
    PrintCount(what, name, count);
  };
  // That a fault was ordered does not say that it harmed anything.
  const NetworkCounts& network = totals.sum.network;
  must("messages", "sent", network.sent);
  must("messages", "delivered", network.delivered);
  must("messages", "lost", network.lost);
  must("messages", "delayed", network.delayed);
  must("messages", "delivered again", network.repeated);
  must("messages", "stalled by a cut", network.stalled);
  must("streams", "reset", network.reset);
  must("streams", "keepalive expired", network.keepalive_expired);
  for (size_t i = 0; i < network.uses.size(); ++i) {
    must(kUseNames[i], "opened", network.uses[i].opened);
    must(kUseNames[i], "answers", network.uses[i].heard);
    must(kUseNames[i], "broken", network.uses[i].broken);
  }
  const SubscriberCounts& pushed = totals.sum.subscribers;
  must("subscribed", "pushes", pushed.pushes);
  must("subscribed", "pushes of followers", pushed.from_followers);
  must("subscribed", "sent to a follower", pushed.sent_nearer);
  must("subscribed", "partitions ended", pushed.errors);
  must("subscribed", "moved by metadata", pushed.moved);
  must("subscribed", "out of credit", pushed.out_of_credit);
  must("subscribed", "out of range", pushed.out_of_range);
  const ConsumeCounts& consumed = totals.sum.consumed;
  must("consumed", "pushes", consumed.pushes);
  must("consumed", "assignments", consumed.assigned);
  must("consumed", "taken up by a token", consumed.resumed);
  must("consumed", "revoked", consumed.revoked);
  must("consumed", "gone owing a partition", consumed.owing);
  must("consumed", "offsets committed", consumed.committed);
  must("consumed", "offsets refused", consumed.refused);
  must("consumed", "taken over", consumed.taken_over);
  must("consumed", "stalled", consumed.stalled);
  rare("consumed", "moved by their broker", consumed.moved);
  rare("consumed", "lost", consumed.lost);
  rare("consumed", "revocations withheld", consumed.withheld);
  must("consumed", "half-closed", consumed.half_closed);
  must("records", "acknowledged", totals.sum.acked);
  must("records", "acknowledged after a loss", totals.sum.acked_anew);
  must("records", "sent on streams", totals.sum.streamed);
  must("records", "read", totals.sum.read);
  must("records", "judged in the end", totals.sum.judged);
  must("records", "judged before a loss", totals.sum.judged_so_far);
  must("cluster", "lost all power", totals.sum.all_power_lost);
  must("views", "lost beside a checkpoint", totals.sum.views.lost);
  must("views", "lost without one", totals.sum.views.lost_bare);
  must("views", "checkpoints", totals.sum.views.checkpoints);
  must("views", "filled from one", totals.sum.views.fills);
  if (harms) {
    must("copies", "damaged or out of reach", totals.sum.lies.told);
    must("copies", "set aside for it", totals.sum.lies.found);
    must("copies", "whole again", totals.sum.lies.healed);
  }
  must("progress", "owed", totals.sum.progress_owed);
  PrintCount("progress", "not owed", totals.sum.progress_not_owed);
  PrintCount("events", "most at one moment", totals.sum.instant_events_most);
  return all;
}

// What the ended processes used of processors: real time says little on a
// machine that has other things to do.
double ProcessorSeconds() {
  rusage used{};
  getrusage(RUSAGE_CHILDREN, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) /
             1e6;
}

void PrintThroughput(const Totals& totals, double real_s, int jobs) {
  const double virtual_s = static_cast<double>(totals.sum.virtual_us) / 1e6;
  const double core_s = std::max(ProcessorSeconds(), 1e-9);
  std::printf(
      "%lld seeds (%lld of them twice), %lld failed; %.0f virtual s in %.1f "
      "real s on %d processes that took %.1f s of processors: %.0f virtual s "
      "and %.0f events per second of one\n",
      static_cast<long long>(totals.seeds),
      static_cast<long long>(totals.twice),
      static_cast<long long>(totals.failed), virtual_s, real_s, jobs, core_s,
      virtual_s / core_s, static_cast<double>(totals.sum.events) / core_s);
}

// "3,7,9"; nullopt: that is no list.
std::optional<std::vector<size_t>> ParseList(const std::string& text) {
  std::vector<size_t> numbers;
  if (text == "none") return numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    size_t number = 0;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return std::nullopt;
    numbers.push_back(number);
    at = next;
    if (at < end && *at++ != ',') return std::nullopt;
  }
  return numbers;
}

}  // namespace

int RunSeeds(const FuzzOptions& options) {
  const auto began = std::chrono::steady_clock::now();
  Totals totals;
  SeedWorkers workers(
      options.seeds, options.jobs,
      [&options](uint64_t seed) { return RunSeed(seed, options.limits); },
      options.processor_seconds_max);
  workers.Run([&](uint64_t seed, const RunResult& result) {
    totals.Add(result);
    totals.twice += RunsTwice(seed) ? 1 : 0;
    if (!result.failure.empty()) {
      std::printf("seed %llu FAILED: %s\n",
                  static_cast<unsigned long long>(seed),
                  result.failure.c_str());
      std::fflush(stdout);
    }
    return totals.failed < options.failures_max;
  });
  const std::chrono::duration<double> real =
      std::chrono::steady_clock::now() - began;
  const bool all_counted = PrintCounts(totals, options.limits.harms);
  PrintThroughput(totals, real.count(), options.jobs);
  if (options.require_all && !all_counted) {
    std::printf("FAILED: a count is zero: what it counts was not tested\n");
    return 1;
  }
  return totals.failed == 0 ? 0 : 1;
}

int ReplaySeed(uint64_t seed, const std::string& only, bool trace,
               const FuzzOptions& options) {
  SwarmPlan plan = DrawPlan(seed, options.limits);
  std::printf("%s\n", plan.ToString().c_str());
  if (!only.empty()) {
    const auto kept = ParseList(only);
    if (!kept.has_value() ||
        std::any_of(kept->begin(), kept->end(),
                    [&](size_t i) { return i >= plan.faults.size(); })) {
      std::fprintf(stderr, "--only=3,7,9, each below %zu, or --only=none\n",
                   plan.faults.size());
      return 2;
    }
    plan.faults = Subset(plan.faults, *kept);
  }
  if (trace) {  // a line that was written is seen, however the run ends
    std::setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
  }
  FuzzRun run(plan, trace ? stdout : nullptr);
  std::optional<TraceLog> log;
  if (trace) log.emplace(&run);
  const RunResult result = run.Run();
  log.reset();
  std::printf(
      "hash %016llx, %.3f virtual s, %lld events, %lld acknowledged: %s\n",
      static_cast<unsigned long long>(result.numbers.hash),
      static_cast<double>(result.numbers.virtual_us) / 1e6,
      static_cast<long long>(result.numbers.events),
      static_cast<long long>(result.numbers.acked),
      result.failure.empty() ? "ok" : result.failure.c_str());
  return result.failure.empty() ? 0 : 1;
}

int MinimiseSeed(uint64_t seed, const FuzzOptions& options) {
  const SwarmPlan plan = DrawPlan(seed, options.limits);
  std::printf("%s\n", plan.ToString().c_str());
  const auto minimal = Minimise(plan);
  if (!minimal.has_value()) {
    std::printf("seed %llu does not fail\n",
                static_cast<unsigned long long>(seed));
    return 0;
  }
  std::string list;
  for (const size_t index : minimal->kept) {
    std::printf("%s\n", plan.faults[index].ToString().c_str());
    list += StrCat(list.empty() ? "" : ",", index);
  }
  std::printf("%s\nreplay: --seed=%llu --only=%s\n", minimal->failure.c_str(),
              static_cast<unsigned long long>(seed),
              list.empty() ? "none" : list.c_str());
  return 1;
}

}  // namespace sluice::sim
