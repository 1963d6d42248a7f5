#include "test/sim/subscriber_plan.h"

#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

SubscriberPlan DrawSubscriber(const std::string& rack, Random& random) {
  SubscriberPlan plan;
  // A push that takes all of the credit is common: who reads next is asked
  // again and again.
  plan.credit_bytes =
      random.OneIn(2) ? random.Between(1, 2'000) : random.Between(2'000, 1 << 20);
  if (random.OneIn(3)) plan.slow_us = random.Between(100, 200'000);
  if (random.OneIn(2)) plan.form = api::PayloadForm::kBatches;
  plan.rack = rack;
  plan.forwards = random.OneIn(3);
  if (random.OneIn(2)) {
    plan.restless_every_us = random.Between(50'000, 2'000'000);
  }
  return plan;
}

}  // namespace

std::string SubscriberPlan::ToString() const {
  std::string text = StrCat("; a subscriber with ", credit_bytes, " of credit");
  if (slow_us > 0) text += StrCat(", ", slow_us, " us late");
  if (form == api::PayloadForm::kBatches) text += ", batches";
  if (!rack.empty()) text += ", near followers";
  if (forwards) text += ", through any broker";
  if (restless_every_us > 0) {
    text += StrCat(", restless every ", restless_every_us, " us");
  }
  return text;
}

std::vector<SubscriberPlan> DrawSubscribers(const std::string& rack,
                                            Random& random) {
  std::vector<SubscriberPlan> plans;
  const int count = random.OneIn(3) ? 2 : 1;
  for (int i = 0; i < count; ++i) {
    plans.push_back(DrawSubscriber(rack, random));
  }
  return plans;
}

}  // namespace sluice::sim
