// The numbered invariants of correctness.md 2 that this folder evaluates.
// README.md says what each asks for here, and where the others are held.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace sluice::check {

// In the order of kRuleNames.
enum class Rule {
  kRA1, kRA2, kRA3, kRA4, kRA5, kRA6, kRA7, kRA8, kRA9, kRA10, kRA12, kRA16,
  kRP1, kRP2, kRP3, kRP4, kRP5, kRP6, kRP7, kRP8, kRP9, kRP10, kRP11, kRP12,
  kRP13, kRP14, kRP15, kRP16, kRP17, kRP18, kRP19, kRP20, kRP21, kRP22, kRP23,
  kRP24,
  kST1, kST2, kST4, kST5, kST7, kST8, kST11,
  kMD1, kMD2, kMD3, kMD4, kMD5, kMD6, kMD7, kMD9,
  kIP1, kIP2, kIP3, kIP4, kIP5,
  kGR1, kGR2, kGR3, kGR4, kGR5, kGR6, kGR7, kGR8,
};

inline constexpr std::array kRuleNames = {
    "RA1",  "RA2",  "RA3",  "RA4",  "RA5",  "RA6",  "RA7",  "RA8",  "RA9",
    "RA10", "RA12", "RA16",
    "RP1",  "RP2",  "RP3",  "RP4",  "RP5",  "RP6",  "RP7",  "RP8",  "RP9",
    "RP10", "RP11", "RP12", "RP13", "RP14", "RP15", "RP16", "RP17", "RP18",
    "RP19", "RP20", "RP21", "RP22", "RP23", "RP24",
    "ST1",  "ST2",  "ST4",  "ST5",  "ST7",  "ST8",  "ST11",
    "MD1",  "MD2",  "MD3",  "MD4",  "MD5",  "MD6",  "MD7",  "MD9",
    "IP1",  "IP2",  "IP3",  "IP4",  "IP5",
    "GR1",  "GR2",  "GR3",  "GR4",  "GR5",  "GR6",  "GR7",  "GR8",
};

inline constexpr size_t kRuleCount = kRuleNames.size();
static_assert(static_cast<size_t>(Rule::kGR8) + 1 == kRuleCount);

inline std::string_view NameOf(Rule rule) {
  return kRuleNames[static_cast<size_t>(rule)];
}

}  // namespace sluice::check
