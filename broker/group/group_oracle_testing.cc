#include <algorithm>
#include <utility>

#include "broker/group/group_world_testing.h"

namespace sluice::group {

void GroupOracle::Violated(std::string what) {
  if (!violation_.has_value()) violation_ = std::move(what);
}

void GroupOracle::JoinTold(const MemberKey& member, Generation generation) {
  const bool is_new = told_.count(generation) == 0;
  if (is_new && generation <= newest_told_) {
    Violated(StrCat("GR4: generation ", generation, " is told to ", member,
                    " after ", newest_told_));
  }
  newest_told_ = std::max(newest_told_, generation);
  told_[generation].joined.insert(member);
}

void GroupOracle::AssignmentTold(const MemberKey& member, Generation generation,
                                 const std::string& partitions) {
  Told& told = told_[generation];
  const auto [before, first] = told.assignments.emplace(member, partitions);
  if (!first && before->second != partitions) {
    Violated(StrCat("GR3: ", member, " is given '", partitions,
                    "' in generation ", generation, ", was given '",
                    before->second, "'"));
  }
  for (char p : partitions) {
    const auto [owner, is_first] = told.owners.emplace(p, member);
    if (!is_first && owner->second != member) {
      Violated(StrCat("GR3: partition ", std::string(1, p), " of generation ",
                      generation, " is given to ", member, " and to ",
                      owner->second));
    }
  }
  if (generation < newest_owned_) {
    Violated(StrCat("GR3: generation ", generation, " is given out after ",
                    newest_owned_));
  }
  newest_owned_ = std::max(newest_owned_, generation);
}

void GroupOracle::CommitTaken(const MemberKey& member, Generation generation) {
  if (Stale(generation)) {
    Violated(StrCat("GR1: a commit of ", member, " in generation ", generation,
                    " is taken, generation ", newest_owned_, " owns"));
  }
  if (told_.count(generation) == 0 ||
      told_.at(generation).joined.count(member) == 0) {
    Violated(StrCat("GR1: a commit of ", member, " in generation ", generation,
                    " is taken, of which it was never told"));
  }
}

void GroupOracle::Restored(Generation generation) {
  if (generation < newest_told_) {
    Violated(StrCat("GR4: a coordinator begins with generation ", generation,
                    ", ", newest_told_, " was told"));
  }
}

}  // namespace sluice::group
