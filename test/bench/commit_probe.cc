#include "test/bench/commit_probe.h"

#include <algorithm>
#include <set>
#include <utility>

#include "client/group/group_errors.h"
#include "common/base/status_macros.h"

namespace sluice::bench {
namespace {

// Enough names that each of 16 partitions has one, but for a chance of 1e-13.
constexpr int kNamesTried = 512;

absl::Status StatusOfAll(
    const absl::StatusOr<v1::CommitOffsetsResponse>& answer) {
  if (!answer.ok()) return answer.status();
  for (const v1::OffsetCommitResult& result : answer->results()) {
    const absl::Status status = StatusOf(result.error());
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<CommitProbe>> CommitProbe::Start(
    BenchClient* client, const std::string& topic, int offsets_partitions) {
  const auto names = GroupNames("probe-", kNamesTried);
  ASSIGN_OR_RETURN(const auto coordinators, FindCoordinators(client, names));
  std::set<int32_t> covered;
  std::vector<Group> groups;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!covered.insert(coordinators[i].partition).second) continue;
    Group group;
    group.name = names[i];
    group.coordinator = coordinators[i];
    groups.push_back(group);
  }
  if (static_cast<int>(groups.size()) != offsets_partitions) {
    return MakeError(ErrorCode::kInvalidRequest, "__consumer_offsets has ",
                     groups.size(), " partitions that some group of ",
                     kNamesTried, " has, not ", offsets_partitions);
  }
  return std::unique_ptr<CommitProbe>(
      new CommitProbe(client, topic, std::move(groups)));
}

CommitProbe::CommitProbe(BenchClient* client, std::string topic,
                         std::vector<Group> groups)
    : client_(client), topic_(std::move(topic)), groups_(std::move(groups)) {
  client_->Await<bool>([this](const auto& done) {
    admin_ = std::make_unique<GroupAdmin>(
        GroupAdmin::Deps{client_->deps(), client_->options(),
                         client_->metadata(), client_->connections()});
    active_ = groups_.size();
    for (size_t i = 0; i < groups_.size(); ++i) Commit(i);
    done(true);
  });
}

CommitProbe::~CommitProbe() {
  client_->Await<bool>([this](auto done) { stopped_ = std::move(done); });
  client_->Await<bool>([this](const auto& done) {
    admin_.reset();
    done(true);
  });
}

bool CommitProbe::Running() {
  return client_->Await<bool>([this](const auto& done) {
    done(std::all_of(groups_.begin(), groups_.end(),
                     [](const Group& g) { return g.acknowledged > 0; }));
  });
}

std::vector<CommitProbe::Group> CommitProbe::Seen() {
  return client_->Await<std::vector<Group>>(
      [this](const auto& done) { done(groups_); });
}

void CommitProbe::Commit(size_t group) {
  if (stopped_ != nullptr) {
    if (--active_ == 0) stopped_(true);
    return;
  }
  v1::CommitOffsetsRequest request;
  request.set_group_id(groups_[group].name);
  v1::OffsetCommit* commit = request.add_offsets();
  commit->mutable_topic()->set_name(topic_);
  commit->set_partition(0);
  commit->set_offset(groups_[group].acknowledged + 1);
  admin_->CommitOffsets(std::move(request), kCallTimeoutUs,
                        [this, group](auto answer) {
                          OnAnswer(group, answer);
                        });
}

void CommitProbe::OnAnswer(
    size_t group, const absl::StatusOr<v1::CommitOffsetsResponse>& answer) {
  Group& of = groups_[group];
  if (StatusOfAll(answer).ok()) {
    const int64_t now_us = client_->clock().MonoMicros();
    if (of.acknowledged++ > 0 &&
        now_us - of.last_ack_us > of.gap_to_us - of.gap_from_us) {
      of.gap_from_us = of.last_ack_us;
      of.gap_to_us = now_us;
    }
    of.last_ack_us = now_us;
  } else {
    ++of.failed;
  }
  client_->deps().executor->PostAfter(kIntervalUs,
                                      [this, group] { Commit(group); });
}

}  // namespace sluice::bench
