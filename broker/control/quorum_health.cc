#include "broker/control/quorum_health.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/error.h"

namespace sluice {
namespace {

bool IsSilent(const v1::Voter& voter) {
  return !voter.is_leader() && (voter.last_contact_ms() < 0 ||
                                voter.last_contact_ms() >= kVoterSilentMs);
}

std::string SilenceOf(const v1::Voter& voter) {
  return voter.last_contact_ms() < 0
             ? std::string(" was not heard since the last election")
             : StrCat(" was last heard ", voter.last_contact_ms() / 1000,
                      " s ago");
}

}  // namespace

std::vector<v1::HealthIssue> QuorumIssues(
    const v1::DescribeQuorumResponse& quorum) {
  const int silent = static_cast<int>(std::count_if(
      quorum.voters().begin(), quorum.voters().end(), IsSilent));
  const int voters = quorum.voters_size();
  const int spare = std::max(0, voters - silent - (voters / 2 + 1));
  std::vector<v1::HealthIssue> issues;
  for (const v1::Voter& voter : quorum.voters()) {
    if (!IsSilent(voter)) continue;
    const bool wiped = std::any_of(
        quorum.observers().begin(), quorum.observers().end(),
        [&](const v1::Voter& other) { return other.id() == voter.id(); });
    v1::HealthIssue& issue = issues.emplace_back();
    issue.set_kind(v1::HealthIssue::KIND_CONTROLLER_DOWN);
    issue.set_partition(-1);
    issue.set_broker_id(-1);
    issue.set_message(StrCat(
        "controller ", voter.id(), SilenceOf(voter), "; of ", voters,
        " controllers ", spare, " more may fail; ",
        wiped ? "it runs on another disk than the one that votes, so it only "
                "observes: give it its own data directory back"
              : "start it, or look at its log and network"));
  }
  return issues;
}

}  // namespace sluice
