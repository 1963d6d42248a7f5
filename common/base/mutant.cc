#include "common/base/mutant.h"

#ifdef SLUICE_MUTANTS

#include <cstdio>
#include <cstdlib>

#include "common/base/mutant_names.h"

namespace sluice {
namespace {

constexpr NamedMutant kNone = {MutantId{0}, ""};

// Read by the threads of a test with real ones, too; chosen before they start.
NamedMutant chosen = kNone;
bool reached = false;

// A file, and of the first time alone: seeds run in processes of their own that
// end in every way, and this must cost nothing.
void TellReached() {
  const char* path = std::getenv("SLUICE_MUTANT_REACHED");
  if (path == nullptr) return;
  std::FILE* file = std::fopen(path, "a");
  if (file == nullptr || std::fclose(file) != 0) {
    std::fprintf(stderr, "SLUICE_MUTANT_REACHED=%s: cannot be made\n", path);
    std::exit(2);
  }
}

// Before main: a test has no place to ask.
[[maybe_unused]] const bool kFromEnvironment = [] {
  const char* name = std::getenv("SLUICE_MUTANT");
  if (name == nullptr || ChooseMutant(name)) return true;
  std::fprintf(stderr, "SLUICE_MUTANT=%s: no such mutant\n", name);
  std::exit(2);
}();

}  // namespace

bool ChooseMutant(std::string_view name) {
  reached = false;
  if (name.empty()) {
    chosen = kNone;
    return true;
  }
  for (const NamedMutant& known : MutantList()) {
    if (known.name != name) continue;
    chosen = known;
    return true;
  }
  return false;
}

std::string_view ChosenMutant() { return chosen.name; }

bool MutantOn(MutantId mutant) {
  if (mutant != chosen.id) return false;
  if (!reached) TellReached();
  reached = true;
  return true;
}

}  // namespace sluice

#endif
