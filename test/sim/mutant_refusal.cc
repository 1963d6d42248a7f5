// In a build without mutants SLUICE_MUTANT would be green and prove nothing: it
// is refused by name. Linked into whatever runs a cluster.
#include <cstdio>
#include <cstdlib>

#include "common/base/mutant.h"

namespace sluice::sim {
namespace {

// Before main: a test has no place to ask.
[[maybe_unused]] const bool kRefused = [] {
  const char* name = std::getenv("SLUICE_MUTANT");
  if (kMutantsBuilt || name == nullptr || *name == '\0') return false;
  std::fprintf(stderr,
               "SLUICE_MUTANT=%s: this build has no mutants; build with "
               "--config=mutants\n",
               name);
  std::exit(2);
}();

}  // namespace
}  // namespace sluice::sim
