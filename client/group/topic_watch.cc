#include "client/group/topic_watch.h"

#include <re2/re2.h>

#include <utility>

#include "common/base/error.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<TopicWatch>> TopicWatch::Start(
    const Deps& deps, const std::string& pattern) {
  if (pattern.empty() || pattern.size() > kPatternBytesMax) {
    return MakeError(ErrorCode::kInvalidRequest, "a pattern of ",
                     pattern.size(), " bytes; it has 1 to ", kPatternBytesMax);
  }
  RE2::Options options;
  options.set_log_errors(false);
  auto parsed = std::make_unique<RE2>(pattern, options);
  if (!parsed->ok()) {
    return MakeError(ErrorCode::kInvalidRequest, "pattern ", pattern,
                     " cannot be read: ", parsed->error(),
                     "; see github.com/google/re2/wiki/Syntax");
  }
  std::unique_ptr<TopicWatch> watch(
      new TopicWatch(deps, std::move(parsed)));
  watch->List();
  return watch;
}

TopicWatch::TopicWatch(const Deps& deps, std::unique_ptr<re2::RE2> pattern)
    : deps_(deps),
      pattern_(std::move(pattern)),
      admin_(deps.client, deps.options, deps.metadata) {}

TopicWatch::~TopicWatch() {
  alive_.reset();
  if (timer_ != 0) deps_.client.executor->Cancel(timer_);
}

void TopicWatch::List() {
  timer_ = 0;
  admin_.ListTopics({}, kListTimeoutUs,
                    [this, alive = std::weak_ptr<bool>(alive_)](
                        const absl::StatusOr<v1::ListTopicsResponse>& listed) {
                      if (!alive.expired()) OnListed(listed);
                    });
}

// What is told last: it may end this.
void TopicWatch::OnListed(
    const absl::StatusOr<v1::ListTopicsResponse>& listed) {
  timer_ = deps_.client.executor->PostAfter(
      kEveryUs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) List();
      });
  if (!listed.ok()) {
    // Nobody could be asked: what was known stands.
    if (IsRetriableStatus(listed.status())) return;
    return deps_.on_error(listed.status());
  }
  std::set<std::string> topics;
  for (const v1::TopicSummary& topic : listed->topics()) {
    if (!topic.internal() && RE2::FullMatch(topic.name(), *pattern_)) {
      topics.insert(topic.name());
    }
  }
  if (topics.size() > kTopicsMax) {
    return deps_.on_error(MakeError(
        ErrorCode::kInvalidRequest, "pattern ", pattern_->pattern(),
        " matches ", topics.size(), " topics, the most is ", kTopicsMax,
        "; the subscription stays as it was. Narrow the pattern"));
  }
  // A subscription to nothing is none: the last one stands.
  if (topics.empty() || topics == told_) return;
  told_ = topics;
  deps_.on_topics(topics);
}

}  // namespace sluice
