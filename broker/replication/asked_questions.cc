#include "broker/replication/asked_questions.h"

#include <algorithm>
#include <tuple>

#include "common/base/mutant.h"

namespace sluice {

bool AskedQuestions::Take(const FollowerSession& by, AddNumber number) {
  const auto [found, first] = newest_.try_emplace(by.broker_id);
  Asked& newest = found->second;
  const auto asked = std::tie(by.broker_epoch, number);
  const auto before = std::tie(newest.broker_epoch, newest.number);
  if (!first && asked < before && !MUTANT(kOlderQuestionTaken)) return false;
  if (!first && asked == before && newest.answered &&
      !MUTANT(kAnsweredTwice)) {
    return false;
  }
  newest = {by.broker_epoch, number, by.kind};
  return true;
}

void AskedQuestions::Answered(NodeId follower) {
  const auto found = newest_.find(follower);
  if (found != newest_.end()) found->second.answered = true;
}

bool AskedQuestions::IsNewest(const FollowerSession& by,
                              AddNumber number) const {
  const auto found = newest_.find(by.broker_id);
  return found != newest_.end() &&
         found->second.broker_epoch == by.broker_epoch &&
         found->second.number == number;
}

AddNumber AskedQuestions::NumberOf(NodeId follower) const {
  const auto found = newest_.find(follower);
  return found == newest_.end() ? kNoAddNumber : found->second.number;
}

std::optional<StreamKind> AskedQuestions::StreamOf(NodeId follower) const {
  const auto found = newest_.find(follower);
  if (found == newest_.end()) return std::nullopt;
  return found->second.stream;
}

bool AskedQuestions::EndStream(NodeId follower, StreamKind kind) {
  const auto found = newest_.find(follower);
  if (found == newest_.end() || found->second.stream != kind) return false;
  found->second.stream.reset();
  found->second.answered = false;
  return true;
}

void AskedQuestions::Keep(const std::vector<NodeId>& replicas) {
  std::erase_if(newest_, [&](const auto& asked) {
    return std::find(replicas.begin(), replicas.end(), asked.first) ==
           replicas.end();
  });
}

}  // namespace sluice
