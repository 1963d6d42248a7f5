#include "test/sim/group_program.h"

#include <utility>

#include "common/base/error.h"
#include "common/base/str_cat.h"
#include "test/sim/sim_client.h"

namespace sluice::sim {
namespace {

constexpr int64_t kRequestTimeoutMs = 5'000;

GroupConsumerOptions OptionsOf(const GroupPlan& plan,
                               const std::string& instance, int number) {
  GroupConsumerOptions options;
  options.membership.group_id = plan.id;
  options.membership.instance_id = instance;
  options.membership.client_id = StrCat("process", number);
  options.membership.session_timeout_ms = static_cast<int32_t>(plan.session_ms);
  options.membership.heartbeat_interval_ms =
      static_cast<int32_t>(plan.heartbeat_ms);
  options.membership.max_poll_interval_ms =
      static_cast<int32_t>(plan.poll_interval_ms);
  options.membership.assignors = plan.assignors;
  options.reset = GroupReset::kEarliest;
  options.auto_commit = plan.auto_commit;
  options.auto_commit_interval_ms = plan.commit_interval_ms;
  options.max_poll_records = plan.max_poll_records;
  options.fetching.fetch_bytes_min = plan.fetch_bytes_min;
  return options;
}

}  // namespace

// ---- GroupProcess ----

GroupProcess::GroupProcess(SimCluster* cluster, bool forwards)
    : cluster_(cluster),
      host_(&cluster->world()),
      life_(std::make_shared<Life>()) {
  life_->id = NodeId(kFirstClientId + cluster->NextClient());
  life_->clock = &host_;
  executor_ = host_.NewExecutor();
  const int forward_over = forwards ? cluster->broker_count() : 0;
  connector_ = cluster->network().MakeBrokerConnector(life_);
  groups_ = cluster->network().MakeGroupConnector(life_, forward_over);
  deps_.executor = executor_.get();
  deps_.clock = &host_;
  deps_.connector = connector_.get();
  deps_.seed = cluster->random().Next64();
  options_.request_timeout_ms = kRequestTimeoutMs;
  for (int id = 1; id <= cluster->broker_count(); ++id) {
    options_.bootstrap.push_back(SimNetwork::PublicEndpointOf(NodeId(id)));
  }
  metadata_ = std::make_unique<MetadataCache>(deps_, options_);
}

GroupProcess::~GroupProcess() { Die(); }

void GroupProcess::Die() { cluster_->network().Down(life_); }

GroupMember::Deps GroupProcess::MemberDeps() {
  return {deps_, options_, metadata_.get(), groups_.get()};
}

void GroupProcess::Pause() {
  cluster_->network().Pause(life_);
  host_.Pause();
}

void GroupProcess::Resume() {
  if (!host_.paused()) return;
  cluster_->network().Resume(life_);
  host_.Resume();
}

// ---- GroupProgram ----

GroupProgram::GroupProgram(Deps deps)
    : deps_(std::move(deps)), process_(deps_.cluster, deps_.plan->forwards) {
  consumer_ = std::make_unique<GroupConsumer>(
      process_.MemberDeps(),
      OptionsOf(*deps_.plan, deps_.instance, deps_.number));
  const absl::Status subscribed = consumer_->Subscribe(deps_.plan->topics);
  if (!subscribed.ok()) deps_.report(subscribed.ToString());
  PollLater();
}

GroupProgram::~GroupProgram() {
  process_.Die();
  closing_ = true;  // the poll that ends with it is no error
  consumer_.reset();
  deps_.on_owned(membership::kNoGeneration, {});
}

void GroupProgram::Close() {
  if (closing_) return;
  closing_ = true;
  process_.executor()->Post([this] {
    if (over_) return;
    consumer_->Close([this](const absl::Status&) { over_ = true; });
  });
}

// Nobody can be late in answering who stands still.
void GroupProgram::Pause() {
  if (poll_ != 0) deps_.polls->End(std::exchange(poll_, 0));
  process_.Pause();
}

std::set<NamedPartition> GroupProgram::Assignment() const {
  const std::vector<NamedPartition> all = consumer_->Assignment();
  return {all.begin(), all.end()};
}

void GroupProgram::PollLater() {
  process_.executor()->PostAfter(std::exchange(hang_us_, 0),
                                 [this] { Poll(); });
}

void GroupProgram::Poll() {
  if (closing_ || over_) return;
  poll_ = deps_.polls->Begin(ToString(), kPollUs);
  consumer_->Poll(kPollUs, kPollBytes,
                  [this](absl::StatusOr<GroupPoll> polled) {
                    if (poll_ != 0) deps_.polls->End(std::exchange(poll_, 0));
                    OnPolled(polled);
                  });
}

void GroupProgram::OnPolled(const absl::StatusOr<GroupPoll>& polled) {
  if (polled.ok()) {
    for (const FetchedBatch& batch : polled->batches) deps_.on_batch(batch);
  }
  if (closing_) return;
  TellOwned();
  if (!polled.ok()) OnError(polled.status());
  if (over_) return;
  if (polled.ok() && !polled->batches.empty() && !deps_.plan->auto_commit) {
    // What it is answered changes nothing: what was not committed is read again.
    consumer_->Commit([](const absl::Status&) {});
  }
  PollLater();
}

// What rests since an error is read again from where it stands, as programs do.
void GroupProgram::OnError(const absl::Status& error) {
  if (CodeOf(error) == ErrorCode::kFencedInstanceId) {
    over_ = true;
    deps_.on_owned(membership::kNoGeneration, {});
    return;
  }
  if (!IsRetriableStatus(error)) {
    deps_.report(StrCat("REFUSED: ", ToString(), ": ", error.ToString()));
  }
  for (const NamedPartition& tp : consumer_->Assignment()) {
    const auto position = consumer_->Position(tp);
    if (!position.has_value()) continue;
    const absl::Status sought = consumer_->Seek(tp, *position);
    if (!sought.ok()) deps_.report(sought.ToString());
  }
}

void GroupProgram::TellOwned() { deps_.on_owned(generation(), Assignment()); }

std::string GroupProgram::ToString() const {
  return StrCat("a poll of process ", deps_.number, " of ", deps_.plan->id,
                deps_.instance.empty() ? "" : ", instance ", deps_.instance);
}

}  // namespace sluice::sim
