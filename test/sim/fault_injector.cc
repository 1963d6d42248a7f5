#include "test/sim/fault_injector.h"

#include <algorithm>
#include <utility>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

constexpr int kClientsCut = 8;  // of which an isolated node hears nothing
constexpr int64_t kRepeatedAfterUsMax = 60'000'000;

}  // namespace

FaultInjector::FaultInjector(SimCluster* cluster, FaultAtlas* atlas,
                             uint64_t seed, Log log)
    : cluster_(cluster),
      atlas_(atlas),
      random_(seed),
      log_(std::move(log)),
      executor_(cluster->world().NewExecutor()) {
  filter_ = cluster->network().AddFilter(
      [this](const Message& message) -> std::optional<Verdict> {
        for (const auto& [id, fault] : qualities_) {
          if (fault.kind == FaultKind::kDropKind &&
              message.kind == static_cast<MessageKind>(fault.amount)) {
            OnMet(id, fault.kind);
            return Verdict::Drop();
          }
        }
        return std::nullopt;
      });
  cluster->network().AddObserver(
      [this, alive = alive_](const Message& message, Fate fate) {
        if (!*alive || fate != Fate::kLost) return;
        const auto found = half_open_.find(message.lane);
        if (found != half_open_.end()) {
          OnMet(found->second, FaultKind::kHalfOpen);
        }
      });
}

void FaultInjector::OnMet(uint64_t fault, FaultKind kind) {
  if (unmet_.erase(fault) > 0) ++fired_[static_cast<size_t>(kind)];
}

FaultInjector::~FaultInjector() {
  *alive_ = false;
  cluster_->network().RemoveFilter(filter_);
}

void FaultInjector::Start(const FaultSchedule& faults) {
  for (const Fault& fault : faults) {
    executor_->PostAfter(fault.at_us, [this, fault] { Do(fault); });
  }
}

bool FaultInjector::Do(const Fault& fault) {
  auto mend = Begin(fault);
  if (!mend.has_value()) {
    log_(StrCat("not done: ", fault.ToString()));
    return false;
  }
  if (fault.kind != FaultKind::kDropKind && fault.kind != FaultKind::kHalfOpen) {
    ++fired_[static_cast<size_t>(fault.kind)];
  }
  log_(fault.ToString());
  if (*mend == nullptr) return true;
  const uint64_t id = next_++;
  mends_.emplace(id, *std::move(mend));
  executor_->PostAfter(fault.for_us, [this, id, what = fault.ToString()] {
    const auto found = mends_.find(id);
    if (found == mends_.end()) return;
    log_(StrCat("mended: ", what));
    const Mend mend = std::move(found->second);
    mends_.erase(found);
    mend();
  });
  return true;
}

std::optional<FaultInjector::Mend> FaultInjector::Begin(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::kKill:
    case FaultKind::kCleanStop:
    case FaultKind::kKillAll:
    case FaultKind::kPause:
    case FaultKind::kWallJump:
      return BeginProcess(fault);
    case FaultKind::kPowerLoss:
    case FaultKind::kTornPowerLoss:
    case FaultKind::kPowerLossAll:
    case FaultKind::kWipeLogs:
    case FaultKind::kWipeRaft:
      return BeginPowerLoss(fault);
    case FaultKind::kCutPair:
    case FaultKind::kCutOneWay:
    case FaultKind::kIsolate:
    case FaultKind::kIsolateFromControllers:
    case FaultKind::kSplit:
    case FaultKind::kBridge:
    case FaultKind::kRing:
    case FaultKind::kHalfOpen:
    case FaultKind::kReset:
      return BeginLinks(fault);
    case FaultKind::kLoss:
    case FaultKind::kDelay:
    case FaultKind::kSlowLink:
    case FaultKind::kRepeat:
    case FaultKind::kDropKind:
      return BeginQuality(fault);
    default:
      return BeginDisk(fault);
  }
}

// ---- Processes ----

FaultInjector::Mend FaultInjector::BootAgain(int node) {
  return [this, node] {
    // What its disk holds nobody knows while syncs fail: it stays down.
    if (!cluster_->up(node) && !IsLying(node)) cluster_->Boot(node);
  };
}

void FaultInjector::BootAll() {
  for (const int id : cluster_->ids()) BootAgain(id)();
}

std::optional<FaultInjector::Mend> FaultInjector::BeginProcess(
    const Fault& fault) {
  const int node = fault.node;
  if (fault.kind == FaultKind::kKillAll) {
    for (const int id : cluster_->ids()) cluster_->Kill(id);
    return [this] { BootAll(); };
  }
  if (!cluster_->up(node)) return std::nullopt;
  if (fault.kind == FaultKind::kKill) {
    cluster_->Kill(node);
    return BootAgain(node);
  }
  if (fault.kind == FaultKind::kCleanStop) return CleanStop(node);
  if (fault.kind == FaultKind::kPause) {
    if (cluster_->at(node).life->hung) return std::nullopt;
    cluster_->Pause(node);
    return [this, node] { cluster_->Resume(node); };
  }
  SimHost& host = cluster_->at(node).host;
  if (fault.amount == 0) {
    host.SetWall(0);
  } else {
    host.JumpWall(fault.amount);
  }
  return [&host] { host.CorrectWall(); };
}

// It ends when it has stopped, and starts again then: nothing is to be mended,
// and how long a stop takes is its own affair.
std::optional<FaultInjector::Mend> FaultInjector::CleanStop(int node) {
  const LifePtr life = cluster_->at(node).life;
  std::weak_ptr<Life>& asked = stopping_[node];
  if (life->hung || asked.lock() == life) return std::nullopt;
  asked = life;
  cluster_->BeginStop(node, [this, node, asked] {
    executor_->Post([this, node, asked] {
      const LifePtr stopped = asked.lock();
      if (stopped == nullptr || cluster_->at(node).life != stopped) return;
      cluster_->FinishStop(node);
      BootAgain(node)();
    });
  });
  return Mend();
}

std::optional<FaultInjector::Mend> FaultInjector::PowerLossAll() {
  for (const int id : cluster_->ids()) {
    if (!atlas_->MayLosePower(id)) return std::nullopt;
  }
  // Two that may go one by one must not go together.
  for (const int id : cluster_->ids()) {
    if (!atlas_->MayLosePower(id)) continue;
    atlas_->OnPowerLoss(id);
    cluster_->PowerCut(id, random_.OneIn(2));
  }
  return [this] { BootAll(); };
}

std::optional<FaultInjector::Mend> FaultInjector::BeginPowerLoss(
    const Fault& fault) {
  const int node = fault.node;
  if (fault.kind == FaultKind::kPowerLossAll) return PowerLossAll();
  if (fault.kind == FaultKind::kWipeLogs) {
    // A disk that fails is not replaced before it is over: that is another end.
    if (failing_.contains(node) || !atlas_->MayWipe(node)) return std::nullopt;
    atlas_->OnWipe(node);
    cluster_->Kill(node);
    cluster_->WipeLogs(node);
    return BootAgain(node);
  }
  if (fault.kind == FaultKind::kWipeRaft) {
    // One of three or five: the others are a quorum, of which each counts.
    if (failing_.contains(node) || !cluster_->is_controller(node) ||
        wiped_controller_ != 0) {
      return std::nullopt;
    }
    wiped_controller_ = node;
    cluster_->Kill(node);
    cluster_->WipeRaft(node);
    return BootAgain(node);
  }
  if (!atlas_->MayLosePower(node)) return std::nullopt;
  atlas_->OnPowerLoss(node);
  cluster_->PowerCut(node, fault.kind == FaultKind::kTornPowerLoss);
  return BootAgain(node);
}

// ---- Links ----

std::vector<int> FaultInjector::Everybody() const {
  std::vector<int> ids = cluster_->ids();
  for (int i = 0; i < kClientsCut; ++i) ids.push_back(kFirstClientId + i);
  return ids;
}

SimNetwork::Cuts FaultInjector::CutsOf(const Fault& fault) const {
  SimNetwork::Cuts cuts;
  const auto cut = [&cuts](int a, int b) {
    if (a == b) return;
    cuts.emplace(NodeId(a), NodeId(b));
    cuts.emplace(NodeId(b), NodeId(a));
  };
  const std::vector<int> ids = cluster_->ids();
  const auto side = [&](size_t i) { return fault.amount >> (i % 16) & 1; };
  switch (fault.kind) {
    case FaultKind::kCutPair:
      cut(fault.node, fault.other);
      break;
    case FaultKind::kCutOneWay:
      cuts.emplace(NodeId(fault.node), NodeId(fault.other));
      break;
    case FaultKind::kIsolate:
      for (const int id : Everybody()) cut(fault.node, id);
      break;
    case FaultKind::kIsolateFromControllers:
      for (const int id : cluster_->controller_ids()) cut(fault.node, id);
      break;
    case FaultKind::kSplit:
    case FaultKind::kBridge:
      for (size_t i = 0; i < ids.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          const bool bridged =
              fault.kind == FaultKind::kBridge &&
              (ids[i] == fault.node || ids[j] == fault.node);
          if (side(i) != side(j) && !bridged) cut(ids[i], ids[j]);
        }
      }
      break;
    case FaultKind::kRing:
      for (size_t i = 0; i < ids.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          const size_t apart = i - j;
          if (apart != 1 && apart != ids.size() - 1) cut(ids[i], ids[j]);
        }
      }
      break;
    default:
      INVARIANT(false, "no fault of links: ", NameOf(fault.kind));
  }
  return cuts;
}

void FaultInjector::SetLinks() {
  SimNetwork::Cuts all;
  for (const auto& [id, cuts] : cuts_) all.insert(cuts.begin(), cuts.end());
  cluster_->network().SetCuts(all);
}

std::optional<FaultInjector::Mend> FaultInjector::BeginLinks(
    const Fault& fault) {
  SimNetwork& network = cluster_->network();
  if (fault.kind == FaultKind::kHalfOpen) {
    const auto lanes =
        network.HalfOpen(NodeId(fault.node), NodeId(fault.other));
    if (lanes.empty()) return std::nullopt;
    const uint64_t id = next_++;
    unmet_.insert(id);
    for (const uint64_t lane : lanes) half_open_[lane] = id;
    return Mend();
  }
  if (fault.kind == FaultKind::kReset) {
    const int cut = network.Reset(NodeId(fault.node), NodeId(fault.other));
    return cut > 0 ? std::optional(Mend()) : std::nullopt;
  }
  SimNetwork::Cuts cuts = CutsOf(fault);
  if (cuts.empty()) return std::nullopt;
  const uint64_t id = next_++;
  cuts_.emplace(id, std::move(cuts));
  SetLinks();
  return [this, id] {
    cuts_.erase(id);
    SetLinks();
  };
}

void FaultInjector::SetQuality() {
  LinkQuality everywhere;
  for (const auto& [id, fault] : qualities_) {
    if (fault.kind == FaultKind::kLoss) {
      everywhere.lost_ppm += static_cast<int32_t>(fault.amount);
    } else if (fault.kind == FaultKind::kDelay) {
      everywhere.delay_mean_us += fault.amount;
    } else if (fault.kind == FaultKind::kRepeat) {
      everywhere.repeated_ppm += static_cast<int32_t>(fault.amount);
      everywhere.repeated_after_us_max = kRepeatedAfterUsMax;
    }
  }
  SimNetwork& network = cluster_->network();
  network.ClearQuality();
  network.SetQuality(everywhere);
  for (const auto& [id, fault] : qualities_) {
    if (fault.kind != FaultKind::kSlowLink) continue;
    LinkQuality slow = everywhere;
    slow.delay_mean_us += fault.amount;
    network.SetQuality(NodeId(fault.node), NodeId(fault.other), slow);
  }
}

std::optional<FaultInjector::Mend> FaultInjector::BeginQuality(
    const Fault& fault) {
  const uint64_t id = next_++;
  qualities_.emplace(id, fault);
  if (fault.kind == FaultKind::kDropKind) unmet_.insert(id);
  SetQuality();
  return [this, id] {
    qualities_.erase(id);
    SetQuality();
  };
}

// ---- Ends ----

void FaultInjector::Forget() {
  executor_ = cluster_->world().NewExecutor();
  mends_.clear();
  cuts_.clear();
  qualities_.clear();
  disks_.clear();
  hanging_.clear();
  SetLinks();
  SetQuality();
  for (const int id : cluster_->ids()) {
    SetDisks(id);
    atlas_->lies().EndMisdirection(NodeId(id));
    cluster_->at(id).fs.ClearFaults();
    if (unreadable_.contains(id)) EndUnreadable(id);
    cluster_->at(id).kv.ClearFaults();
    if (failing_.contains(id)) {
      failing_.at(id).faults = 1;
      EndFailingDisk(id);
    }
    cluster_->at(id).host.CorrectWall();
    cluster_->Resume(id);
  }
}

void FaultInjector::LeaveHealthy(const std::set<int>& core) {
  Forget();
  for (const int id : cluster_->ids()) {
    if (core.contains(id)) {
      BootAgain(id)();
      continue;
    }
    switch (random_.Below(4)) {
      case 0:
        cluster_->Kill(id);
        break;
      case 1:
        if (cluster_->up(id)) cluster_->Pause(id);
        break;
      case 2:
        // A controller would have to be replaced first, which nothing does.
        if (!cluster_->is_controller(id) && cluster_->up(id)) {
          Hang(id);
          break;
        }
        [[fallthrough]];
      default:
        cuts_.emplace(next_++, CutsOf({.kind = FaultKind::kIsolate,
                                       .node = id}));
    }
  }
  SetLinks();
}

void FaultInjector::HealAll() {
  Forget();
  BootAll();
}

}  // namespace sluice::sim
