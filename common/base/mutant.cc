#include "common/base/mutant.h"

#ifdef SLUICE_MUTANTS

#include <cstdio>
#include <cstdlib>

namespace sluice {
namespace {

struct Named {
  Mutant mutant;
  std::string_view name;
};

constexpr Named kMutants[] = {
    {Mutant::kNone, ""},
#define SLUICE_MUTANT(name, rule, found_by, what) {Mutant::name, #name},
#include "common/base/mutants.def"
#undef SLUICE_MUTANT
};

// Read by the threads of a test with real ones, too; chosen before they start.
Mutant chosen = Mutant::kNone;
int64_t reached = 0;

// Before main: a test has no place to ask.
[[maybe_unused]] const bool kFromEnvironment = [] {
  const char* name = std::getenv("SLUICE_MUTANT");
  if (name == nullptr || ChooseMutant(name)) return true;
  std::fprintf(stderr, "SLUICE_MUTANT=%s: no such mutant\n", name);
  std::exit(2);
}();

}  // namespace

bool ChooseMutant(std::string_view name) {
  for (const Named& known : kMutants) {
    if (known.name != name) continue;
    chosen = known.mutant;
    reached = 0;
    return true;
  }
  return false;
}

std::string_view ChosenMutant() {
  return kMutants[static_cast<int>(chosen)].name;
}

int64_t MutantReached() { return reached; }

bool MutantOn(Mutant mutant) {
  if (mutant != chosen) return false;
  ++reached;
  return true;
}

}  // namespace sluice

#endif
