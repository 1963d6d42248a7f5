// The names of mutants.def, for mutant.cc alone.
#pragma once

#include <span>

#include "common/base/mutant.h"

namespace sluice {

struct NamedMutant {
  MutantId id;
  std::string_view name;
};

// Generated from mutants.def.
std::span<const NamedMutant> MutantList();

consteval bool IdsDiffer(std::span<const NamedMutant> mutants) {
  for (size_t i = 0; i < mutants.size(); ++i) {
    for (size_t j = i + 1; j < mutants.size(); ++j) {
      if (mutants[i].id == mutants[j].id) return false;
    }
  }
  return true;
}

}  // namespace sluice
