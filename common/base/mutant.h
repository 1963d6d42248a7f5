// Seeded bugs: the proof that the simulator can see (correctness.md 4.6).
//
//   if (MUTANT(kHwBelowMinIsr) || isr >= min_isr) ...
//
// A mutant is one deviation at the line that keeps a rule, named in
// mutants.def. In every build but --config=mutants MUTANT is the constant
// false: no code, no branch. That one build is the simulator's: at most one
// mutant is on, chosen by name. .bazelrc lists the files that have some; a
// header has none. test/floors holds that each name used is in the list and
// each in the list is used.
//
// The list is not included here: one new mutant would compile every file that
// has one.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// FNV-1a of a mutant's name; mutant_names.h holds that no two are alike.
enum class MutantId : uint64_t {};

consteval MutantId MutantNamed(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  return MutantId{hash};
}

#ifdef SLUICE_MUTANTS

constexpr bool kMutantsBuilt = true;

// False: there is no such mutant. "" turns it off. The environment variable
// SLUICE_MUTANT does the same for tests, which have no flags.
bool ChooseMutant(std::string_view name);
std::string_view ChosenMutant();  // "" for none

bool MutantOn(MutantId mutant);

#else

constexpr bool kMutantsBuilt = false;

inline bool ChooseMutant(std::string_view name) { return name.empty(); }

consteval bool MutantOn(MutantId) { return false; }

#endif

}  // namespace sluice

#define MUTANT(name) ::sluice::MutantOn(::sluice::MutantNamed(#name))
