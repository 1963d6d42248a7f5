#include "test/bench/commit_load.h"

#include <utility>

#include "client/group/group_errors.h"
#include "common/base/status_macros.h"

namespace sluice::bench {
namespace {

constexpr int64_t kTickUs = 1'000;
constexpr int64_t kCallTimeoutUs = 30'000'000;

// Lives on the client's executor until it told its end.
class Load {
 public:
  Load(BenchClient* client, const CommitLoadOptions& options,
       std::vector<std::string> groups, std::vector<Coordinator> coordinators,
       CommitLoadResult* result, std::function<void(bool)> done)
      : client_(client),
        options_(options),
        groups_(std::move(groups)),
        coordinators_(std::move(coordinators)),
        result_(result),
        done_(std::move(done)) {}

  void Start() {
    start_us_ = NowUs();
    Pump();
  }

 private:
  int64_t NowUs() const { return client_->clock().MonoMicros(); }
  int64_t DueUs(int64_t call) const {
    return start_us_ + call * 1'000'000 / options_.calls_per_s;
  }

  void Pump() {
    while (sent_ < options_.calls && in_flight_ < options_.in_flight_max) {
      const int64_t now_us = NowUs();
      int64_t due_us = now_us;
      if (options_.calls_per_s > 0) {
        due_us = DueUs(sent_);
        if (due_us > now_us) return WakeAgain();
      }
      Send(sent_++, due_us);
    }
  }

  void WakeAgain() {
    if (std::exchange(waking_, true)) return;
    client_->deps().executor->PostAfter(kTickUs, [this] {
      waking_ = false;
      Pump();
    });
  }

  void Send(int64_t call, int64_t due_us) {
    const auto group = static_cast<size_t>(call % options_.groups);
    v1::CommitOffsetsRequest request;
    request.set_group_id(groups_[group]);
    const int64_t first =
        call / options_.groups * options_.offsets_per_call;
    for (int k = 0; k < options_.offsets_per_call; ++k) {
      v1::OffsetCommit* commit = request.add_offsets();
      commit->mutable_topic()->set_name(options_.topic);
      commit->set_partition(
          static_cast<int32_t>((first + k) % options_.partitions));
      commit->set_offset(call + 1);
    }
    ++in_flight_;
    client_->connections()
        ->At(coordinators_[group].endpoint)
        ->CommitOffsets(request, kCallTimeoutUs,
                        [this, due_us](auto answer) {
                          OnAnswer(due_us, std::move(answer));
                        });
  }

  void OnAnswer(int64_t due_us,
                absl::StatusOr<v1::CommitOffsetsResponse> answer) {
    absl::Status status = answer.status();
    if (answer.ok()) {
      for (const v1::OffsetCommitResult& result : answer->results()) {
        if (status.ok()) status = StatusOf(result.error());
      }
    }
    const int64_t now_us = NowUs();
    if (status.ok()) {
      ++result_->calls;
      result_->latencies.Record(now_us - due_us);
    } else if (result_->failed++ == 0) {
      result_->first_error = status;
    }
    --in_flight_;
    if (sent_ == options_.calls && in_flight_ == 0) {
      result_->took_us = now_us - start_us_;
      return done_(true);
    }
    Pump();
  }

  BenchClient* const client_;
  const CommitLoadOptions options_;
  const std::vector<std::string> groups_;
  const std::vector<Coordinator> coordinators_;
  CommitLoadResult* const result_;
  const std::function<void(bool)> done_;
  int64_t start_us_ = 0;
  int64_t sent_ = 0;
  int in_flight_ = 0;
  bool waking_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CommitLoadResult>> RunCommitLoad(
    BenchClient* client, const CommitLoadOptions& options) {
  auto groups = GroupNames(options.group_prefix, options.groups);
  ASSIGN_OR_RETURN(auto coordinators, FindCoordinators(client, groups));
  auto result = std::make_unique<CommitLoadResult>();
  std::unique_ptr<Load> load;
  client->Await<bool>([&](auto done) {
    load = std::make_unique<Load>(client, options, std::move(groups),
                                  std::move(coordinators), result.get(),
                                  std::move(done));
    load->Start();
  });
  client->Await<bool>([&](const auto& done) {  // not within its own callback
    load.reset();
    done(true);
  });
  return result;
}

}  // namespace sluice::bench
