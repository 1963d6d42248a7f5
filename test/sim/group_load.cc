#include "test/sim/group_load.h"

#include <algorithm>
#include <utility>

#include "client/fetched_batch.h"
#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

constexpr int64_t kCallTimeoutUs = 10'000'000;
constexpr int64_t kMicrosPerMilli = 1'000;

}  // namespace

GroupLoad::GroupLoad(Deps deps)
    : deps_(std::move(deps)),
      random_(deps_.seed),
      polls_(&deps_.cluster->world(), deps_.report),
      calls_(&deps_.cluster->world(), deps_.report),
      looks_(&deps_.cluster->world(), deps_.report),
      executor_(deps_.cluster->world().NewExecutor()),
      operator_(std::make_unique<GroupProcess>(deps_.cluster, true)) {
  const GroupMember::Deps own = operator_->MemberDeps();
  connections_ =
      std::make_unique<GroupConnections>(own.groups, own.client.executor);
  admin_ = std::make_unique<GroupAdmin>(GroupAdmin::Deps{
      own.client, own.options, own.metadata, connections_.get()});
  for (const GroupPlan& group : deps_.plan->groups) {
    for (int i = 0; i < group.members; ++i) {
      const bool is_static = i < group.static_members;
      slots_.push_back({&group, is_static ? StrCat(group.id, "-", i) : "",
                        /*streams=*/i >= group.members - group.streams, {}});
    }
  }
}

GroupLoad::~GroupLoad() {
  stopped_ = true;
  operator_->Die();
}

void GroupLoad::Start() {
  for (Slot& slot : slots_) {
    if (!random_.OneIn(4)) StartProgram(slot);
  }
  if (deps_.plan->churn_every_us > 0) Churn();
  if (deps_.plan->ask_every_us > 0) Ask();
  Tend();
}

void GroupLoad::Stop() {
  stopped_ = true;
  for (Slot& slot : slots_) {
    if (slot.program == nullptr) continue;
    slot.program->Resume();
    slot.program->Hurry();
  }
  leaving_.clear();
}

void GroupLoad::CheckDue() {
  polls_.CheckDue();
  calls_.CheckDue();
  looks_.CheckDue();
}

// ---- Members ----

void GroupLoad::StartProgram(Slot& slot) {
  const int number = processes_++;
  slot.program =
      slot.streams ? MakeStream(slot, number) : MakeConsumer(slot, number);
  if (stopped_) slot.program->Hurry();
}

std::unique_ptr<GroupApp> GroupLoad::MakeStream(const Slot& slot, int number) {
  ConsumeProgram::Deps deps;
  deps.cluster = deps_.cluster;
  deps.plan = slot.plan;
  deps.instance = slot.instance;
  deps.number = number;
  deps.counts = &consumed_;
  deps.report = deps_.report;
  deps.on_record = [this, group = slot.plan->id](const NamedPartition& tp,
                                                 const DecodedRecord& record) {
    TakeOne(group, tp, record);
  };
  deps.on_owned = [this, group = slot.plan->id, number,
                   instance = slot.instance](
                      int32_t generation,
                      const std::set<NamedPartition>& partitions) {
    deps_.on_owned(group, number, instance, generation, partitions);
  };
  return std::make_unique<ConsumeProgram>(std::move(deps));
}

std::unique_ptr<GroupApp> GroupLoad::MakeConsumer(const Slot& slot,
                                                  int number) {
  GroupProgram::Deps deps;
  deps.cluster = deps_.cluster;
  deps.plan = slot.plan;
  deps.instance = slot.instance;
  deps.number = number;
  deps.polls = &polls_;
  deps.report = deps_.report;
  deps.on_batch = [this, group = slot.plan->id](const FetchedBatch& batch) {
    Take(group, batch);
  };
  deps.on_owned = [this, group = slot.plan->id, number,
                   instance = slot.instance](
                      int32_t generation,
                      const std::set<NamedPartition>& partitions) {
    deps_.on_owned(group, number, instance, generation, partitions);
  };
  return std::make_unique<GroupProgram>(std::move(deps));
}

void GroupLoad::Churn() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * deps_.plan->churn_every_us),
                       [this] { Churn(); });
  ChurnOne(slots_[random_.Below(slots_.size())]);
}

void GroupLoad::ChurnOne(Slot& slot) {
  if (slot.program == nullptr) return StartProgram(slot);
  if (slot.program->paused()) return;
  const GroupPlan& plan = *slot.plan;
  switch (random_.Below(6)) {
    case 0:
      slot.program->Close();
      leaving_.push_back(std::move(slot.program));
      return;
    case 1:
      slot.program.reset();
      return;
    case 2:
      return slot.program->Hang(
          random_.Between(1'000, 2 * plan.poll_interval_ms * kMicrosPerMilli));
    case 3:
      return PauseFor(
          *slot.program,
          random_.Between(1'000, 3 * plan.session_ms * kMicrosPerMilli));
    case 4:
      // A restart; a static member is back before anybody misses it.
      slot.program.reset();
      return StartProgram(slot);
    default:
      // Two processes with one instance id: the older one goes on as long as it
      // is let (GR5). Perhaps it stands still meanwhile, and goes on later.
      if (slot.instance.empty()) return;
      if (random_.OneIn(2)) {
        PauseFor(*slot.program, random_.Between(1'000, 4'000'000));
      }
      leaving_.push_back(std::move(slot.program));
      return StartProgram(slot);
  }
}

// Looked for by its number when the time is over: it may be gone.
void GroupLoad::PauseFor(GroupApp& program, int64_t us) {
  program.Pause();
  executor_->PostAfter(us, [this, number = program.number()] {
    for (const Slot& slot : slots_) {
      if (slot.program != nullptr && slot.program->number() == number) {
        return slot.program->Resume();
      }
    }
    for (const auto& leaving : leaving_) {
      if (leaving->number() == number) return leaving->Resume();
    }
  });
}

void GroupLoad::Reap() {
  std::erase_if(leaving_, [](const auto& program) { return program->over(); });
  for (Slot& slot : slots_) {
    if (slot.program != nullptr && slot.program->over()) slot.program.reset();
  }
}

// Fenced processes end; once all is healed no group stays without a member.
void GroupLoad::Tend() {
  executor_->PostAfter(kTendEveryUs, [this] { Tend(); });
  Reap();
  if (!stopped_) return;
  for (const GroupPlan& plan : deps_.plan->groups) {
    if (plan.streams > 0) LookUpCommitted(plan);
    if (!LivingOf(plan).empty()) continue;
    for (Slot& slot : slots_) {
      if (slot.plan != &plan) continue;
      StartProgram(slot);
      break;
    }
  }
}

std::vector<const GroupApp*> GroupLoad::LivingOf(
    const GroupPlan& plan) const {
  std::vector<const GroupApp*> living;
  for (const Slot& slot : slots_) {
    if (slot.plan != &plan || slot.program == nullptr) continue;
    if (!slot.program->over()) living.push_back(slot.program.get());
  }
  return living;
}

void GroupLoad::Take(const std::string& group, const FetchedBatch& batch) {
  const absl::Status read =
      ForEachRecord(batch, [&](const DecodedRecord& record) {
        TakeOne(group, batch.tp, record);
        return true;
      });
  if (!read.ok()) {
    deps_.report(StrCat("CORRUPT: ", batch.tp, ": ", read.ToString()));
  }
}

void GroupLoad::TakeOne(const std::string& group, const NamedPartition& tp,
                        const DecodedRecord& record) {
  deps_.on_record(tp, record);
  Given& given = given_[{group, tp}];
  const auto at = static_cast<size_t>(record.offset.value());
  if (given.size() <= at) given.resize(at + 1);
  given[at] = true;
}

// An answer is older than what is committed by now, never newer.
void GroupLoad::LookUpCommitted(const GroupPlan& plan) {
  v1::FetchOffsetsRequest request;
  request.add_groups()->set_group_id(plan.id);
  const OpenCalls::Id call =
      looks_.Begin(StrCat("a look at ", plan.id), kCallTimeoutUs);
  admin_->FetchOffsets(
      request, kCallTimeoutUs,
      [this, call, group = plan.id](
          const absl::StatusOr<v1::FetchOffsetsResponse>& answer) {
        looks_.End(call);
        if (!answer.ok() || answer->groups_size() != 1) return;
        for (const v1::CommittedOffset& one : answer->groups(0).offsets()) {
          if (one.error().code() != v1::ERROR_CODE_UNSPECIFIED) continue;
          Committed& known = committed_[{
              group, {one.topic().name(), PartitionIndex(one.partition())}}];
          known.last = Offset(one.offset());
          known.furthest = std::max(known.furthest, known.last);
        }
      });
}

std::string GroupLoad::WhyNotRead(const GroupPlan& plan, const GroupApp& owner,
                                  const NamedPartition& tp, Offset end) const {
  std::optional<Offset> position;
  if (owner.knows_positions()) {
    position = owner.Position(tp);
    if (position == end) return "";
  } else {
    if (meddled_.contains(plan.id)) return "";
    const auto found = committed_.find({plan.id, tp});
    // In a topic that holds nothing there is nothing to commit.
    const Committed known =
        found == committed_.end() ? Committed() : found->second;
    position = known.last;
    if (deps_.is_done(tp, *position, end)) return "";
    // A commit that arrives once more, late, takes the group back (seed 398).
    if (known.furthest <= end && deps_.is_done(tp, known.furthest, end)) {
      return "";
    }
  }
  return StrCat(owner.ToString(), " is in ", tp, " at ",
                position.has_value() ? StrCat(*position) : "no offset",
                ", the high watermark at ", end);
}

std::string GroupLoad::WhyNotSettled(
    const std::function<Offset(const NamedPartition&)>& end) const {
  for (const GroupPlan& plan : deps_.plan->groups) {
    const std::vector<const GroupApp*> living = LivingOf(plan);
    if (living.empty()) return StrCat(plan.id, " has no member");
    const int32_t generation = living.front()->generation();
    std::map<NamedPartition, const GroupApp*> owners;
    for (const GroupApp* program : living) {
      if (program->generation() < 0 || program->generation() != generation) {
        return StrCat(program->ToString(), " is in generation ",
                      program->generation(), ", another one in ", generation);
      }
      for (const NamedPartition& tp : program->Assignment()) {
        owners[tp] = program;
      }
    }
    for (const NamedPartition& tp : deps_.partitions) {
      if (!plan.topics.contains(tp.topic)) continue;
      const auto owner = owners.find(tp);
      if (owner == owners.end()) {
        return StrCat(tp, " is nobody's in ", plan.id, ", generation ",
                      generation);
      }
      const std::string why = WhyNotRead(plan, *owner->second, tp, end(tp));
      if (!why.empty()) return why;
    }
  }
  return "";
}

void GroupLoad::CheckGiven(const NamedPartition& tp, Offset first,
                           Offset end) const {
  for (const GroupPlan& plan : deps_.plan->groups) {
    if (!plan.topics.contains(tp.topic) || meddled_.contains(plan.id)) continue;
    const auto found = given_.find({plan.id, tp});
    for (int64_t at = first.value(); at < end.value(); ++at) {
      const auto index = static_cast<size_t>(at);
      if (found != given_.end() && index < found->second.size() &&
          found->second[index]) {
        continue;
      }
      deps_.report(StrCat("SKIPPED: nobody of ", plan.id, " was given ", tp,
                          " offset ", at, " of [", first, ", ", end, ")"));
      return;
    }
  }
}

// ---- From outside ----

std::string GroupLoad::AnyGroup() {
  const size_t which = random_.Below(deps_.plan->groups.size() + 1);
  return which == deps_.plan->groups.size() ? kLoneGroup
                                            : deps_.plan->groups[which].id;
}

const NamedPartition& GroupLoad::AnyPartition() {
  return deps_.partitions[random_.Below(deps_.partitions.size())];
}

void GroupLoad::Ask() {
  if (stopped_) return;
  executor_->PostAfter(random_.Between(1, 2 * deps_.plan->ask_every_us),
                       [this] { Ask(); });
  switch (random_.Below(16)) {
    case 0:
      return RemoveOffsets();
    case 1:
      return Describe();
    case 2:
      if (deps_.plan->meddles) {
        return SetOffset(AnyGroup(), /*administrative=*/random_.OneIn(2));
      }
      [[fallthrough]];
    case 3:
    case 4:
    case 5:
    case 6:
      return SetOffset(kLoneGroup, /*administrative=*/random_.OneIn(4));
    default:
      return ReadOffsets(AnyGroup());
  }
}

// The answers are judged on the wire (GR2, GR6).
void GroupLoad::ReadOffsets(const std::string& group) {
  v1::FetchOffsetsRequest request;
  auto* query = request.add_groups();
  query->set_group_id(group);
  if (random_.OneIn(2)) {
    const NamedPartition& tp = AnyPartition();
    auto* topic = query->add_topics();
    topic->mutable_topic()->set_name(tp.topic);
    topic->add_partitions(tp.partition.value());
  }
  const OpenCalls::Id call =
      calls_.Begin(StrCat("FetchOffsets of ", group), kCallTimeoutUs);
  admin_->FetchOffsets(request, kCallTimeoutUs,
                       [this, call](const auto&) { calls_.End(call); });
}

// Forth and back, each one told from the others by its words.
void GroupLoad::SetOffset(const std::string& group, bool administrative) {
  if (group != kLoneGroup) meddled_.insert(group);
  const NamedPartition& tp = AnyPartition();
  v1::CommitOffsetsRequest request;
  request.set_group_id(group);
  request.set_administrative(administrative);
  auto* commit = request.add_offsets();
  commit->mutable_topic()->set_name(tp.topic);
  commit->set_partition(tp.partition.value());
  commit->set_offset(random_.Between(0, 50));
  commit->set_metadata(StrCat("commit ", commits_++));
  const OpenCalls::Id call =
      calls_.Begin(StrCat("CommitOffsets of ", group), kCallTimeoutUs);
  admin_->CommitOffsets(request, kCallTimeoutUs,
                        [this, call](const auto&) { calls_.End(call); });
}

void GroupLoad::RemoveOffsets() {
  const OpenCalls::Id call = calls_.Begin("a removal of offsets",
                                          kCallTimeoutUs);
  if (random_.OneIn(2)) {
    v1::DeleteGroupsRequest request;
    request.add_group_ids(kLoneGroup);
    return admin_->DeleteGroups(
        request, kCallTimeoutUs,
        [this, call](const auto&) { calls_.End(call); });
  }
  const NamedPartition& tp = AnyPartition();
  v1::DeleteOffsetsRequest request;
  request.set_group_id(kLoneGroup);
  auto* topic = request.add_topics();
  topic->mutable_topic()->set_name(tp.topic);
  if (random_.OneIn(2)) topic->add_partitions(tp.partition.value());
  admin_->DeleteOffsets(request, kCallTimeoutUs,
                        [this, call](const auto&) { calls_.End(call); });
}

void GroupLoad::Describe() {
  const OpenCalls::Id call = calls_.Begin("a list of groups", kCallTimeoutUs);
  if (random_.OneIn(2)) {
    return admin_->ListGroups(
        {}, kCallTimeoutUs, [this, call](const auto&) { calls_.End(call); });
  }
  v1::DescribeGroupsRequest request;
  request.add_group_ids(AnyGroup());
  request.set_include_lag(random_.OneIn(2));
  admin_->DescribeGroups(request, kCallTimeoutUs,
                         [this, call](const auto&) { calls_.End(call); });
}

}  // namespace sluice::sim
