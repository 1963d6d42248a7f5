#include "test/sim/minimiser.h"

#include <algorithm>
#include <cctype>
#include <numeric>

#include "common/base/str_cat.h"
#include "test/sim/child_run.h"

namespace sluice::sim {
namespace {

std::vector<size_t> Without(const std::vector<size_t>& all, size_t from,
                            size_t count) {
  std::vector<size_t> rest(all.begin(), all.begin() + static_cast<long>(from));
  const size_t end = std::min(all.size(), from + count);
  rest.insert(rest.end(), all.begin() + static_cast<long>(end), all.end());
  return rest;
}

bool IsCapital(char c) {
  return std::isupper(static_cast<unsigned char>(c)) ||
         std::isdigit(static_cast<unsigned char>(c)) || c == '-';
}

}  // namespace

// The words in capitals that it begins with; of a crash also what it died of.
std::string FailureClass(const std::string& failure) {
  if (failure.starts_with(StrCat(kCrashed, ": "))) {
    return failure.substr(0, failure.find(": ", sizeof(kCrashed) + 1));
  }
  size_t end = 0;
  for (size_t at = 0; at < failure.size();) {
    const size_t space = std::min(failure.find(' ', at), failure.size());
    const bool is_last = space > at && failure[space - 1] == ':';
    const size_t stop = is_last ? space - 1 : space;
    const std::string word = failure.substr(at, stop - at);
    if (word.empty() || !std::all_of(word.begin(), word.end(), IsCapital)) {
      break;
    }
    end = stop;
    if (is_last) break;
    at = space + 1;
  }
  return failure.substr(0, end > 0 ? end : failure.find(':'));
}

FaultSchedule Subset(const FaultSchedule& faults,
                     const std::vector<size_t>& kept) {
  FaultSchedule subset;
  for (size_t i = 0; i < faults.size(); ++i) {
    if (std::find(kept.begin(), kept.end(), i) != kept.end()) {
      subset.push_back(faults[i]);
    }
  }
  return subset;
}

std::optional<Minimum> Minimise(const SwarmPlan& plan) {
  return MinimiseBy(plan.faults.size(), [&](const std::vector<size_t>& kept) {
    SwarmPlan part = plan;
    part.faults = Subset(plan.faults, kept);
    return RunInChild(part).failure;
  });
}

std::optional<Minimum> MinimiseBy(size_t count, const RunKept& run) {
  Minimum minimum;
  minimum.kept.resize(count);
  std::iota(minimum.kept.begin(), minimum.kept.end(), size_t{0});
  minimum.failure = run(minimum.kept);
  if (minimum.failure.empty()) return std::nullopt;
  const std::string wanted = FailureClass(minimum.failure);
  size_t chunk = std::max<size_t>(1, minimum.kept.size() / 2);
  while (!minimum.kept.empty()) {
    bool smaller = false;
    for (size_t from = 0; from < minimum.kept.size();) {
      const auto part = Without(minimum.kept, from, chunk);
      const std::string failure = run(part);
      if (FailureClass(failure) == wanted) {
        minimum = {part, failure};
        smaller = true;
      } else {
        from += chunk;
      }
    }
    if (chunk > 1) {
      chunk /= 2;
    } else if (!smaller) {
      break;
    }
  }
  return minimum;
}

}  // namespace sluice::sim
