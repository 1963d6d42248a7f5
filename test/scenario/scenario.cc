#include "test/scenario/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/base/str_cat.h"

namespace sluice::scenario {
namespace {

constexpr int64_t kMs = 1'000;  // virtual time is in microseconds
constexpr size_t kHistoryMax = 200;

sim::SimOptions OptionsOf(const ScenarioOptions& options) {
  sim::SimOptions out;
  out.nodes = options.brokers;
  out.controllers = options.controllers;
  out.separate = true;
  out.settings = options.settings;
  out.drift_ppm = options.drift_ppm;
  out.tail_cache_bytes_per_shard = options.tail_cache_bytes;
  return out;
}

}  // namespace

std::string Tp::ToString() const { return StrCat(topic, "-", partition); }

Scenario::Scenario(ScenarioOptions options, Where where)
    : sim_(OptionsOf(options), options.seed),
      checks_(&sim_,
              [this](NodeId node, const TopicPartition& tp) {
                return lies_.contains({node, std::nullopt}) ||
                       lies_.contains({node, tp});
              },
              [this](const std::string& what) { violation_ = what; }) {
  sim().world().Watch([this](NodeId ran) { AfterEvent(ran); });
  if (options.before_boot) options.before_boot(*this);
  sim().BootAll();
  Until("the cluster serves", [this] {
    const auto& nodes = sim().nodes();
    return ActiveController() != 0 &&
           std::all_of(nodes.begin(), nodes.end(), [](const auto& entry) {
             return entry.second->broker == nullptr || entry.second->serving;
           });
  }, kLimitMs, where);
}

Scenario::~Scenario() {
  sim().world().Watch(nullptr);
  if (!over_) ADD_FAILURE() << "a script ends with Converge()";
}

void Scenario::AfterEvent(NodeId ran) {
  checks_.AfterEvent(ran);
  TellOfFailedSyncs(ran);
  for (const auto& [tp, offset] : std::exchange(unchecked_acks_, {})) {
    checks_.OnAcknowledged(tp, offset);
  }
}

void Scenario::Note(std::string line) {
  history_.push_back(StrCat(NowMs(), " ms: ", line));
}

void Scenario::Fail(std::string_view what, Where where) {
  over_ = true;
  std::string text = StrCat(what, "\nuntil then:\n");
  const size_t from =
      history_.size() > kHistoryMax ? history_.size() - kHistoryMax : 0;
  for (size_t i = from; i < history_.size(); ++i) {
    text += StrCat("  ", history_[i], "\n");
  }
  for (const Tp& tp : partitions_) text += StrCat("  ", ToString(tp), "\n");
  for (const auto& [id, node] : sim().nodes()) {
    for (const absl::Status& why : node->fatal) {
      text += StrCat("  process ", id, " ended itself: ", why.ToString(), "\n");
    }
  }
  ADD_FAILURE_AT(where.file_name(), static_cast<int>(where.line())) << text;
  throw testing::AssertionException(testing::TestPartResult(
      testing::TestPartResult::kFatalFailure, where.file_name(),
      static_cast<int>(where.line()), "reported"));
}

// ---- Processes and machines ----

void Scenario::Boot(int node) {
  Note(StrCat("boot ", node));
  sim().Boot(node);
  ForgetFailedSyncs(node);
}

void Scenario::Kill(int node) {
  Note(StrCat("kill ", node));
  sim().Kill(node);
}

void Scenario::PowerCut(int node) {
  Note(StrCat("power cut at ", node));
  sim().PowerCutLosingAll(node);
}

void Scenario::PowerCutAll(const std::vector<int>& nodes) {
  for (const int node : nodes) PowerCut(node);
}

void Scenario::Pause(int node) {
  Note(StrCat("pause ", node));
  sim().Pause(node);
}

void Scenario::Resume(int node) {
  Note(StrCat("resume ", node));
  sim().Resume(node);
}

void Scenario::Stop(int node, Where where) {
  Note(StrCat("stop ", node));
  Expect(sim().Stop(node), StrCat("node ", node, " stops"), where);
}

void Scenario::WipeLogs(int node) {
  Note(StrCat("the broker's disk of ", node, " is replaced"));
  sim().WipeLogs(node);
}

void Scenario::Wipe(int node) {
  Note(StrCat("the disks of ", node, " are replaced"));
  sim().Wipe(node);
}

// ---- The network ----

void Scenario::Cut(int a, int b) {
  Note(StrCat("cut ", a, "-", b));
  sim().network().Cut(NodeId(a), NodeId(b));
}

void Scenario::CutOneWay(int from, int to) {
  Note(StrCat("cut ", from, "->", to));
  sim().network().CutOneWay(NodeId(from), NodeId(to));
}

void Scenario::Isolate(int node) {
  Note(StrCat("isolate ", node));
  for (const int other : sim().ids()) {
    if (other != node) sim().network().Cut(NodeId(node), NodeId(other));
  }
}

void Scenario::CutOff(int broker) {
  for (const int id : sim().controller_ids()) Cut(broker, id);
}

void Scenario::Rejoin(int broker) {
  for (const int id : sim().controller_ids()) Mend(broker, id);
}

void Scenario::Mend(int a, int b) {
  Note(StrCat("mend ", a, "-", b));
  sim().network().Mend(NodeId(a), NodeId(b));
}

void Scenario::Heal() {
  Note("heal");
  sim().network().Heal();
}

void Scenario::HalfOpen(int a, int b) {
  Note(StrCat("half-open ", a, "-", b));
  sim().network().HalfOpen(NodeId(a), NodeId(b));
}

CaughtPtr Scenario::Catch(Match match, std::optional<sim::Verdict> verdict,
                          std::string_view verb) {
  const auto caught = std::make_shared<Caught>();
  Note(StrCat(verb, " ", NameOf(match.kind), " ", match.from, "->", match.to));
  caught->filter = sim().network().AddFilter(
      [this, caught, match = std::move(match), verdict,
       verb = std::string(verb)](
          const Message& message) -> std::optional<sim::Verdict> {
        if (message.kind != match.kind ||
            (match.from != kAnyone && message.from != NodeId(match.from)) ||
            (match.to != kAnyone && message.to != NodeId(match.to)) ||
            (match.when && !match.when(message))) {
          return std::nullopt;
        }
        ++caught->count;
        caught->bytes.emplace_back(message.bytes);
        Note(StrCat(verb, " ", Describe(message)));
        if (verdict.has_value() &&
            verdict->action == sim::Verdict::Action::kHold) {
          caught->held.push_back(message.sequence);
        }
        return verdict;
      });
  catching_.push_back(caught);
  return caught;
}

CaughtPtr Scenario::Watch(Match match) {
  return Catch(std::move(match), std::nullopt, "see");
}

CaughtPtr Scenario::Hold(Match match) {
  return Catch(std::move(match), sim::Verdict::Hold(), "hold");
}

CaughtPtr Scenario::Drop(Match match) {
  return Catch(std::move(match), sim::Verdict::Drop(), "drop");
}

CaughtPtr Scenario::Reset(Match match) {
  return Catch(std::move(match), sim::Verdict::Reset(), "reset");
}

CaughtPtr Scenario::Repeat(Match match, int64_t after_ms) {
  return Catch(std::move(match), sim::Verdict::Twice(after_ms * kMs),
               "repeat");
}

void Scenario::Cease(const CaughtPtr& caught) {
  sim().network().RemoveFilter(caught->filter);
}

void Scenario::Deliver(const CaughtPtr& caught) {
  Cease(caught);
  for (const uint64_t sequence : std::exchange(caught->held, {})) {
    Note(StrCat("deliver #", sequence));
    sim().network().Release(sequence);
  }
}

void Scenario::DeliverFirst(const CaughtPtr& caught) {
  if (caught->held.empty()) return;
  const uint64_t sequence = caught->held.front();
  caught->held.erase(caught->held.begin());
  Note(StrCat("deliver #", sequence));
  sim().network().Release(sequence);
}

void Scenario::DropHeld(const CaughtPtr& caught) {
  Cease(caught);
  for (const uint64_t sequence : std::exchange(caught->held, {})) {
    Note(StrCat("lose #", sequence));
    sim().network().DropHeld(sequence);
  }
}

void Scenario::UntilCaught(const CaughtPtr& caught, int count, Where where) {
  Until("a message is caught", [&] { return caught->count >= count; },
        kLimitMs, where);
}

// ---- Time ----

void Scenario::RunFor(int64_t ms, Where where) {
  sim().RunFor(ms);
  ExpectNoViolation(where);
}

void Scenario::Until(std::string_view what, const std::function<bool()>& holds,
                     int64_t limit_ms, Where where) {
  const bool reached = sim().RunUntil(holds, limit_ms);
  ExpectNoViolation(where);
  if (!reached) Fail(StrCat("not within ", limit_ms, " ms: ", what), where);
  Note(StrCat("so far: ", what));
}

void Scenario::Throughout(int64_t ms, std::string_view what,
                          const std::function<bool()>& holds, Where where) {
  const bool broken = sim().RunUntil([&] { return !holds(); }, ms);
  ExpectNoViolation(where);
  if (broken) Fail(StrCat("no more: ", what), where);
}

void Scenario::Expect(bool holds, std::string_view what, Where where) {
  ExpectNoViolation(where);
  if (!holds) Fail(StrCat("does not hold: ", what), where);
}

void Scenario::ExpectNoViolation(Where where) {
  if (!violation_.empty() && !over_) Fail(violation_, where);
}

// ---- The end ----

std::string Scenario::WhyNotConverged() {
  for (const auto& [id, node] : sim().nodes()) {
    if (node->broker != nullptr && !node->serving) {
      return StrCat("broker ", id, " does not serve");
    }
    if (node->broker != nullptr &&
        node->broker->image()->offset() != NewestImage().offset()) {
      return StrCat("broker ", id, " has not applied the newest metadata");
    }
  }
  for (const Tp& tp : partitions_) {
    const PartitionImage& state = Committed(tp);
    if (state.leader == kNoNode || state.isr.size() != state.replicas.size() ||
        !AllEqual(tp)) {
      return ToString(tp);
    }
  }
  return "";
}

bool Scenario::AllEqual(const Tp& tp) {
  const PartitionImage& state = Committed(tp);
  const TopicPartition id = IdOf(tp, Where::current());
  const auto want = sim().LogBytes(state.leader.value(), id);
  return std::all_of(
      state.replicas.begin(), state.replicas.end(), [&](NodeId replica) {
        const replica::ReplicaCore* core = FindCore(replica.value(), tp);
        return core != nullptr && core->high_watermark() == core->leo() &&
               sim().LogBytes(replica.value(), id) == want;
      });
}

void Scenario::Converge(const std::map<Tp, Values>& logs, Where where) {
  Note("heal all");
  for (const CaughtPtr& caught : catching_) Deliver(caught);
  sim().network().Heal();
  for (const int id : sim().ids()) {
    sim().SetDisks(id, 0, /*hung=*/false);
    sim().at(id).fs.ClearFaults();
    sim().at(id).fs.SetCapacity(INT64_MAX);
    sim().Resume(id);
    if (!sim().up(id)) Boot(id);
  }
  std::string why;
  const int64_t end_ms = NowMs() + 3 * kLimitMs;
  do {
    RunFor(50, where);
    why = WhyNotConverged();
  } while (!why.empty() && NowMs() < end_ms);
  if (!why.empty()) Fail(StrCat("not converged: ", why), where);
  for (const Tp& tp : partitions_) CheckRecords(tp, where);
  for (const auto& [tp, values] : logs) {
    ExpectLog(Committed(tp).leader.value(), tp, values, where);
  }
  for (const auto& [id, node] : sim().nodes()) {
    Expect(node->fatal.empty() || may_fail_.contains(id.value()),
           StrCat("process ", id, " had no reason to end itself"), where);
  }
  checks_.AtEnd();
  ExpectNoViolation(where);
  over_ = true;
}

}  // namespace sluice::scenario
