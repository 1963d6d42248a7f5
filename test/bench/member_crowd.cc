#include "test/bench/member_crowd.h"

#include <set>
#include <utility>

#include "common/base/error.h"

namespace sluice::bench {
namespace {

constexpr int64_t kLookEveryUs = 10'000;

// Lives on the client's executor.
class Crowd {
 public:
  Crowd(BenchClient* client, const CrowdOptions& options)
      : client_(client), options_(options), held_(options.members, 0) {}

  void Join(std::function<void(absl::StatusOr<CrowdResult>)> done) {
    done_ = std::move(done);
    start_us_ = NowUs();
    for (int i = 0; i < options_.members; ++i) AddMember(i);
    Look();
  }

  void Leave(std::function<void(bool)> done) {
    auto left = std::make_shared<int>(options_.members);
    for (auto& member : members_) {
      member->Leave([left, done] {
        if (--*left == 0) done(true);
      });
    }
  }

 private:
  int64_t NowUs() const { return client_->clock().MonoMicros(); }

  void AddMember(int i) {
    membership::Options options;
    options.group_id = options_.group;
    options.client_id = StrCat("crowd-", i);
    GroupMember::Listener listener;
    listener.on_assigned = [this, i](const membership::Partitions& added) {
      Hold(i, static_cast<int64_t>(added.size()));
    };
    listener.on_release = [this, i](const membership::Partitions& given_up,
                                    bool) {
      Hold(i, -static_cast<int64_t>(given_up.size()));
      members_[static_cast<size_t>(i)]->Released();
    };
    listener.on_failed = [this](const absl::Status& status) {
      if (failure_.ok()) failure_ = status;
    };
    ClientDeps deps = client_->deps();
    deps.seed = static_cast<uint64_t>(i) + 1;
    members_.push_back(std::make_unique<GroupMember>(
        GroupMember::Deps{deps, client_->options(), client_->metadata(),
                          client_->group_connector()},
        options, std::move(listener)));
    members_.back()->Subscribe({options_.topic});
    members_.back()->PollBegan();  // as if it polled on and on
  }

  void Hold(int member, int64_t more) {
    held_[static_cast<size_t>(member)] += more;
    held_in_all_ += more;
  }

  bool Stable() const {
    if (held_in_all_ != options_.partitions) return false;
    for (const auto& member : members_) {
      if (member->generation() != members_.front()->generation()) return false;
    }
    for (const int64_t held : held_) {
      if (held == 0) return false;
    }
    return true;
  }

  void Look() {
    const int64_t took_us = NowUs() - start_us_;
    if (!failure_.ok()) return done_(failure_);
    if (Stable()) {
      CrowdResult result;
      result.stable_us = took_us;
      result.generation = members_.front()->generation();
      return done_(result);
    }
    if (took_us > options_.timeout_us) return done_(Late());
    client_->deps().executor->PostAfter(kLookEveryUs, [this] { Look(); });
  }

  absl::Status Late() const {
    std::set<int32_t> generations;
    for (const auto& member : members_) {
      generations.insert(member->generation());
    }
    return MakeError(ErrorCode::kRequestTimedOut, options_.members,
                     " members hold ", held_in_all_, " of ",
                     options_.partitions, " partitions in ",
                     generations.size(), " generations up to ",
                     *generations.rbegin(), " after ",
                     options_.timeout_us / 1'000'000, " s");
  }

  BenchClient* const client_;
  const CrowdOptions options_;
  std::function<void(absl::StatusOr<CrowdResult>)> done_;
  std::vector<std::unique_ptr<GroupMember>> members_;
  std::vector<int64_t> held_;  // partitions, by member
  int64_t held_in_all_ = 0;
  int64_t start_us_ = 0;
  absl::Status failure_;
};

}  // namespace

absl::StatusOr<CrowdResult> RunCrowd(BenchClient* client,
                                     const CrowdOptions& options) {
  std::unique_ptr<Crowd> crowd;
  auto result = client->Await<absl::StatusOr<CrowdResult>>([&](auto done) {
    crowd = std::make_unique<Crowd>(client, options);
    crowd->Join(std::move(done));
  });
  const int64_t leaving_us = client->clock().MonoMicros();
  client->Await<bool>([&](auto done) { crowd->Leave(std::move(done)); });
  if (result.ok()) {
    result->leave_us = client->clock().MonoMicros() - leaving_us;
  }
  client->Await<bool>([&](const auto& done) {
    crowd.reset();
    done(true);
  });
  return result;
}

}  // namespace sluice::bench
