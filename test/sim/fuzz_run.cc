#include "test/sim/fuzz_run.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "broker/control/broker_lifecycle.h"
#include "common/base/str_cat.h"
#include "controller/controller.h"

namespace sluice::sim {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kBootLimitUs = 20 * kSecond;
constexpr int64_t kCheckEveryUs = 50'000;
constexpr int64_t kSettledUs = 2 * kSecond;
constexpr int64_t kHourMs = 3'600'000;

bool Contains(const std::set<int>& core, NodeId id) {
  return core.contains(id.value());
}

}  // namespace

FuzzRun::FuzzRun(const SwarmPlan& plan, std::FILE* lines)
    : plan_(plan),
      trace_(lines),
      instant_(plan.instant_events_max),
      cluster_(plan.cluster, plan.seed),
      atlas_(&cluster_),
      checks_(&cluster_,
              [this](NodeId node, const TopicPartition& tp) {
                atlas_.lies().NoteFound(node, tp);
                return atlas_.Lies(node, tp);
              },
              [this](const std::string& what) { Fail(what); }),
      injector_(&cluster_, &atlas_, plan.seed + 5,
                [this](const std::string& what) {
                  trace_.MixBytes(what);
                  trace_.Line(cluster_.world().MonoMicros(), kNoNode, what);
                }),
      random_(plan.seed + 9) {
  if (plan.loses_all_power) atlas_.SpareMemory();
  ObserveMessages();
  cluster_.world().Watch([this](NodeId ran) { AfterEvent(ran); });
}

FuzzRun::~FuzzRun() {
  cluster_.world().Watch(nullptr);
  TakeNotes(kNoNode);
}

void FuzzRun::AfterEvent(NodeId ran) {
  const int64_t now_us = cluster_.world().MonoMicros();
  trace_.Mix(static_cast<uint64_t>(now_us));
  trace_.Mix(static_cast<uint64_t>(ran.value()));
  TakeNotes(ran);
  checks_.AfterEvent(ran);
  if (injector_.HasFailedSync(ran)) checks_.OnSyncFailed(ran);
  if (!instant_.OnEvent(now_us, ran)) return;
  Fail(instant_.ToString());
  cluster_.world().Halt();
}

void FuzzRun::ObserveMessages() {
  cluster_.network().AddObserver([this](const Message& message, Fate fate) {
    trace_.Mix(message.sequence << 8 | static_cast<uint64_t>(fate));
    if (fate == Fate::kSent) trace_.MixBytes(message.bytes);
    if (instant_.wants_notes()) {
      instant_.Note(StrCat(NameOf(fate), " ", NameOf(message.kind), " #",
                           message.sequence));
    }
    if (!trace_.verbose()) return;
    trace_.Line(cluster_.world().MonoMicros(),
                fate == Fate::kSent ? message.from : message.to,
                StrCat(NameOf(fate), " ",
                       fate == Fate::kSent
                           ? Describe(message)
                           : StrCat("#", message.sequence, " ",
                                    NameOf(message.kind), " from ",
                                    message.from)));
  });
}

void FuzzRun::Note(std::string_view text) { notes_.emplace_back(text); }

void FuzzRun::TakeNotes(NodeId of) {
  for (const std::string& note : std::exchange(notes_, {})) {
    trace_.Line(cluster_.world().MonoMicros(), of, note);
  }
}

void FuzzRun::Fail(const std::string& what) {
  if (failed()) return;
  failure_ = what;
  trace_.Line(cluster_.world().MonoMicros(), kNoNode,
              StrCat("FAILED: ", what));
}

template <class Predicate>
bool FuzzRun::Await(Predicate done, int64_t limit_us) {
  const int64_t end_us = cluster_.world().MonoMicros() + limit_us;
  while (!failed() && cluster_.world().MonoMicros() < end_us) {
    if (done()) return true;
    cluster_.world().RunFor(kCheckEveryUs);
    atlas_.NewestImage();  // which copies are whole again
    if (workload_ != nullptr) workload_->CheckDue();
  }
  return !failed() && done();
}

void FuzzRun::RunPhase(int64_t us) {
  Await([] { return false; }, us);
}

RunResult FuzzRun::Run() {
  if (Start()) {
    workload_ = std::make_unique<Workload>(
        &cluster_, &plan_, [this](const std::string& what) { Fail(what); });
    workload_->SetOnAcked(
        [this](const NamedPartition& tp, Offset offset, LeaderEpoch by) {
          if (const auto id = IdOf(tp)) checks_.OnAcknowledged(*id, offset, by);
        });
    atlas_.NewestImage();  // before configs are altered
    workload_->SetOnCreated(
        [this](const TopicId& id) { checks_.OnTopicCreated(id); });
    workload_->SetOnOwned([this](const auto&... owned) {
      checks_.OnOwned(owned...);
    });
    workload_->Start();
    injector_.Start(plan_.faults);
    RunPhase(plan_.faults_us);
    if (!failed() && plan_.loses_all_power) LoseAllPower();
    if (!failed()) RequireProgress();
    if (!failed()) Converge();
    if (!failed() && plan_.loses_all_power) HoldToWhatIsSaid();
    if (!failed()) CheckMetadata();
    if (!failed()) checks_.AtEnd();
    if (!failed()) workload_->CheckEnd(plan_.heal_us);
    CheckEndings();
  }
  return {failure_, Numbers()};
}

RunNumbers FuzzRun::Numbers() const {
  RunNumbers numbers;
  numbers.hash = trace_.hash();
  numbers.virtual_us = cluster_.world().MonoMicros();
  numbers.events = cluster_.world().event_count();
  numbers.network = cluster_.network().counts();
  numbers.faults = injector_.fired();
  numbers.evaluations = checks_.findings().evaluations();
  numbers.progress_owed = progress_owed_;
  numbers.progress_not_owed = progress_not_owed_;
  numbers.all_power_lost = all_power_lost_;
  numbers.views = cluster_.view_counts();
  numbers.lies = atlas_.lies().counts();
  numbers.instant_events_most = instant_.most();
  if (workload_ != nullptr) {
    numbers.acked = workload_->ledger().acked();
    numbers.acked_anew = workload_->ledger().acked_anew();
    numbers.read = workload_->records_read();
    numbers.subscribers = workload_->subscriber_counts();
    numbers.consumed = workload_->consume_counts();
    numbers.streamed = workload_->records_streamed();
    numbers.judged = workload_->records_judged();
    numbers.judged_so_far = workload_->records_judged_so_far();
  }
  return numbers;
}

// ---- Phase 0 ----

bool FuzzRun::Start() {
  cluster_.BootAll();
  const auto serving = [this] {
    return std::all_of(cluster_.nodes().begin(), cluster_.nodes().end(),
                       [](const auto& entry) {
                         return entry.second->broker == nullptr ||
                                entry.second->serving;
                       });
  };
  if (!Await(serving, kBootLimitUs)) {
    Fail(StrCat("a fresh cluster did not start: ", cluster_.Health()));
    return false;
  }
  CreateTopics();
  return !failed();
}

void FuzzRun::CreateTopics() {
  for (const TopicPlan& topic : plan_.topics) {
    const absl::Status created = cluster_.CreateTopic(
        topic.name, topic.partitions, topic.replicas, topic.Configs());
    if (!created.ok()) {
      return Fail(StrCat("a healthy cluster did not create ", topic.name, ": ",
                         created.ToString()));
    }
  }
}

// ---- A power cut of everything (F14) ----

// Topics on disks lose nothing; in memory the best log of each partition leads
// without an operator.
void FuzzRun::LoseAllPower() {
  workload_->JudgeSoFar();
  trace_.Line(cluster_.world().MonoMicros(), kNoNode, "all power is lost");
  ++all_power_lost_;
  for (const NamedPartition& tp : workload_->partitions()) {
    const TopicImage* topic = atlas_.NewestImage().FindTopic(tp.topic);
    if (topic == nullptr || cluster_.configs().SettingsOf(*topic).durable) {
      continue;
    }
    const PartitionImage* partition = topic->Find(tp.partition);
    workload_->ledger().MayLose(
        tp, partition == nullptr ? kNoLeaderEpoch : partition->leader_epoch);
  }
  for (const int id : cluster_.ids()) {
    atlas_.OnPowerLoss(id);
    cluster_.PowerCut(id, random_.OneIn(2));
  }
  RunPhase(random_.Between(1, 2 * kSecond));
  injector_.BootAll();
}

// What may be lost is what the elections said, no more.
void FuzzRun::HoldToWhatIsSaid() {
  for (const NamedPartition& tp : workload_->partitions()) {
    if (!workload_->ledger().may_lose(tp)) continue;
    const auto id = IdOf(tp);
    const PartitionImage* state =
        id.has_value() ? atlas_.NewestImage().FindPartition(*id) : nullptr;
    if (state == nullptr) continue;
    const bool is_unclean = state->last_unclean_leader_epoch != kNoLeaderEpoch;
    workload_->ledger().IsKept(
        tp, is_unclean ? state->unclean_loss.first : Offset(INT64_MAX));
  }
}

// ---- Phase 2: faults stay, but a core is healthy ----

// A majority of the controllers, and so many brokers that what they miss can
// still be served by the others, most of the time.
std::set<int> FuzzRun::DrawCore() {
  std::set<int> core;
  std::vector<int> controllers = cluster_.controller_ids();
  // It votes no more, and counts among them still.
  const size_t wiped =
      std::erase(controllers, injector_.wiped_controller()) > 0 ? 1 : 0;
  size_t down = random_.Below((controllers.size() + wiped + 1) / 2 - wiped);
  std::set<int> out;
  for (; down > 0; --down) {
    out.insert(controllers[random_.Below(controllers.size())]);
  }
  if (cluster_.broker_count() >= 3 && random_.OneIn(2)) {
    const int broker = static_cast<int>(
        random_.Between(1, cluster_.broker_count()));
    if (!cluster_.is_controller(broker)) out.insert(broker);
  }
  for (const int id : cluster_.ids()) {
    if (!out.contains(id)) core.insert(id);
  }
  return core;
}

std::optional<TopicPartition> FuzzRun::IdOf(const NamedPartition& tp) {
  const TopicImage* topic = atlas_.NewestImage().FindTopic(tp.topic);
  if (topic == nullptr) return std::nullopt;
  return TopicPartition{topic->id, tp.partition};
}

std::string FuzzRun::StateOf(const NamedPartition& tp) {
  const auto id = IdOf(tp);
  const PartitionImage* partition =
      id.has_value() ? atlas_.NewestImage().FindPartition(*id) : nullptr;
  if (partition == nullptr) return StrCat(tp, " (unknown)");
  const auto list = [](const std::vector<NodeId>& ids) {
    std::string text;
    for (const NodeId id : ids) text += StrCat(text.empty() ? "" : ",", id);
    return text;
  };
  return StrCat(tp, " (leader ", partition->leader, " epoch ",
                partition->leader_epoch.value(), " replicas ",
                list(partition->replicas), " ISR ", list(partition->isr),
                " ELR ", list(partition->elr), " unverified ",
                list(partition->unverified_elr), " last full ISR ",
                list(partition->last_full_isr), ")");
}

// Until then what was asked for by nodes that are now outside may still be done
// (an ISR without the core's members, say), and brokers that lost their power
// are in ISRs that they leave when they register. Empty: it has.
std::string FuzzRun::WhyNotSettled(const std::set<int>& core) {
  const MetadataImage& image = atlas_.NewestImage();
  for (const auto& [id, node] : cluster_.nodes()) {
    if (!cluster_.is_broker(id.value())) continue;
    const BrokerImage* broker = image.FindBroker(id);
    if (!Contains(core, id)) {
      if (broker == nullptr || broker->fenced || injector_.Hangs(id.value())) {
        continue;
      }
      return StrCat("broker ", id, " is not fenced");
    }
    if (node->broker == nullptr) return StrCat("broker ", id, " is down");
    if (!node->serving || broker == nullptr || !broker->active() ||
        broker->epoch != node->broker->lifecycle().epoch()) {
      return StrCat("broker ", id, " does not serve");
    }
  }
  return "";
}

// Whoever hangs leads on, or again by order (seed 1097): demotion may be off.
bool FuzzRun::MayBeLedByWhoHangs(const PartitionImage& partition) const {
  return injector_.Hangs(partition.leader.value()) ||
         (plan_.load.elect_every_us > 0 &&
          injector_.Hangs(partition.replicas.front().value()));
}

// One of those that may lead lives in the core, and as many replicas as an
// acknowledgement takes. Said of settled metadata. With an empty ISR and
// nobody of the ELR in the core nobody may lead, which is the price of min ISR
// 1; with nobody eligible at all the best log does, once all have told.
bool FuzzRun::IsOwedProgress(const std::set<int>& core,
                             const NamedPartition& tp) {
  const MetadataImage& image = atlas_.NewestImage();
  const TopicImage* topic = image.FindTopic(tp.topic);
  const PartitionImage* partition =
      topic == nullptr ? nullptr : topic->Find(tp.partition);
  if (partition == nullptr || MayBeLedByWhoHangs(*partition)) return false;
  const auto in_core = [&core](NodeId id) { return Contains(core, id); };
  int replicas = 0;
  for (const NodeId id : partition->replicas) replicas += in_core(id) ? 1 : 0;
  const auto any = [&](const std::vector<NodeId>& ids) {
    return std::any_of(ids.begin(), ids.end(), [&](NodeId id) {
      return in_core(id) && !atlas_.IsTainted(*topic, tp.partition, id);
    });
  };
  // One whose log is damaged cannot be elected, nor may another one without it:
  // that is for an operator to decide.
  const auto can_tell = [&](NodeId id) {
    const CandidateLog* log = partition->CandidateOf(id);
    return in_core(id) && !atlas_.Lies(id, {topic->id, tp.partition}) &&
           !sluice::Contains(partition->failed_replicas, id) &&
           (log == nullptr || !log->failed);
  };
  const bool all_have_to_tell =
      partition->AsksForLogs(/*unclean=*/false) &&
      std::all_of(partition->replicas.begin(), partition->replicas.end(),
                  can_tell);
  return replicas >=
             cluster_.configs().SettingsOf(*topic).min_insync_replicas &&
         (all_have_to_tell || any(partition->isr) || any(partition->elr) ||
          any(partition->unverified_elr));
}

// A wall clock decides nothing: not who is fenced, nor that nobody is (F61).
void FuzzRun::JumpWallClocks(const std::set<int>& core) {
  for (const int id : core) {
    if (random_.OneIn(2)) continue;
    cluster_.at(id).host.JumpWall(random_.OneIn(2) ? kHourMs : -kHourMs);
  }
}

void FuzzRun::RequireProgress() {
  const std::set<int> core = DrawCore();
  std::string who;
  for (const int id : core) who += StrCat(" ", id);
  trace_.Line(cluster_.world().MonoMicros(), kNoNode,
              StrCat("a healthy core of", who));
  injector_.LeaveHealthy(core);
  JumpWallClocks(core);
  const auto settled = [&] {
    return workload_->HoldConfigs() && WhyNotSettled(core).empty();
  };
  if (!Await(settled, plan_.liveness_us)) {
    return Fail(StrCat("NOT SETTLED with a healthy core of", who, ": ",
                       WhyNotSettled(core)));
  }
  std::map<NamedPartition, int64_t> before;
  for (const NamedPartition& tp : workload_->partitions()) {
    if (IsOwedProgress(core, tp)) {
      before[tp] = workload_->ledger().acked_of(tp);
      ++progress_owed_;
    } else {
      ++progress_not_owed_;
    }
  }
  const auto progressed = [&] {
    for (const auto& [tp, count] : before) {
      if (workload_->ledger().acked_of(tp) <= count) return false;
    }
    return true;
  };
  if (Await(progressed, plan_.liveness_us)) return;
  std::string stuck;
  for (const auto& [tp, count] : before) {
    if (workload_->ledger().acked_of(tp) <= count) {
      stuck += StrCat(" ", StateOf(tp));
    }
  }
  Fail(StrCat("NO PROGRESS with a healthy core of", who, ":", stuck));
}

// ---- Phase 3: all is healed ----

void FuzzRun::Converge() {
  workload_->Stop();
  injector_.HealAll();
  // For a while: the last high watermarks are under way still, and a follower
  // that its leader has not heard of since the faults may leave once more.
  int64_t since_us = -1;
  std::string differs;
  const auto settled = [&] {
    const int64_t now_us = cluster_.world().MonoMicros();
    if (!WhyNotConverged().empty()) {
      since_us = -1;
      return false;
    }
    if (since_us < 0) since_us = now_us;
    if (now_us - since_us < kSettledUs) return false;
    // Whole logs are compared when all else has settled, not at every look:
    // that was a third of a run's cost.
    since_us = now_us;
    differs = WhyReplicasDiffer();
    return differs.empty();
  };
  if (Await(settled, plan_.heal_us) || failed()) return;
  const std::string why = WhyNotConverged();
  Fail(StrCat("NOT CONVERGED: ", why.empty() ? differs : why));
}

}  // namespace sluice::sim
