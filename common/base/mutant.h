// Seeded bugs: the proof that the simulator can see (correctness.md 4.6).
//
//   if (MUTANT(kHwBelowMinIsr) || isr >= min_isr) ...
//
// A mutant is one deviation at the line that keeps a rule, named in
// mutants.def. In every build but --config=mutants MUTANT is the constant
// false: no code, no branch, and a name that the list lacks does not compile.
// That one build is the simulator's: at most one mutant is on, chosen by name.
// .bazelrc lists the files that have some; a header has none.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

enum class Mutant : int {
  kNone,
#define SLUICE_MUTANT(name, rule, found_by, what) name,
#include "common/base/mutants.def"
#undef SLUICE_MUTANT
};

#ifdef SLUICE_MUTANTS

constexpr bool kMutantsBuilt = true;

// False: there is no such mutant. "" turns it off. The environment variable
// SLUICE_MUTANT does the same for tests, which have no flags.
bool ChooseMutant(std::string_view name);
std::string_view ChosenMutant();  // "" for none
// How often the chosen one's line was reached: 0 means that a survivor was
// never tried.
int64_t MutantReached();

bool MutantOn(Mutant mutant);

#else

constexpr bool kMutantsBuilt = false;

inline bool ChooseMutant(std::string_view name) { return name.empty(); }
inline int64_t MutantReached() { return 0; }

consteval bool MutantOn(Mutant) { return false; }

#endif

}  // namespace sluice

#define MUTANT(name) ::sluice::MutantOn(::sluice::Mutant::name)
