#include "test/sim/death_note.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cctype>
#include <cstdio>

#include "common/base/invariant.h"
#include "common/base/str_cat.h"

namespace sluice::sim {
namespace {

constexpr std::string_view kInvariant = ": INVARIANT failed: ";
// Of what else ends a process: the text begins with it.
constexpr std::string_view kOthers[] = {"AddressSanitizer: ",
                                        "runtime error: ", "Check failed: ",
                                        "Assertion '"};

std::string_view LineAround(std::string_view text, size_t at) {
  const size_t newline = text.rfind('\n', at);
  const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
  return text.substr(begin, text.find('\n', at) - begin);
}

// "RP4" of "... RP4 hw=7 ..."; "": no rule is named.
std::string_view RuleIn(std::string_view text) {
  for (const std::string_view family : {"RA", "RP", "ST", "MD", "IP", "GR"}) {
    for (size_t at = text.find(family); at != std::string_view::npos;
         at = text.find(family, at + 1)) {
      size_t end = at + family.size();
      while (end < text.size() &&
             std::isdigit(static_cast<unsigned char>(text[end]))) {
        ++end;
      }
      const bool begins =
          at == 0 || !std::isalnum(static_cast<unsigned char>(text[at - 1]));
      if (begins && end > at + family.size()) {
        return text.substr(at, end - at);
      }
    }
  }
  return "";
}

}  // namespace

std::string WhyItDied(std::string_view said) {
  const size_t at = said.rfind(kInvariant);
  if (at != std::string_view::npos) {
    const std::string_view line = LineAround(said, at);
    const size_t colon = line.find(kInvariant);
    const std::string_view facts = line.substr(colon + kInvariant.size());
    const std::string_view rule = RuleIn(facts);
    return StrCat(rule, rule.empty() ? "" : ": ", line.substr(0, colon), ": ",
                  facts);
  }
  for (const std::string_view other : kOthers) {
    const size_t found = said.find(other);
    if (found == std::string_view::npos) continue;
    return std::string(said.substr(found, said.find('\n', found) - found));
  }
  return "";
}

DeathNote::DeathNote() : fd_(memfd_create("stderr", MFD_CLOEXEC)) {
  INVARIANT(fd_ >= 0, "no memory for a child's stderr");
}

DeathNote::~DeathNote() { close(fd_); }

void DeathNote::Keep() const {
  INVARIANT(dup2(fd_, STDERR_FILENO) >= 0, "stderr cannot be kept");
}

std::string DeathNote::Take() const {
  std::string said;
  char part[4096];
  while (true) {
    const ssize_t got =
        pread(fd_, part, sizeof part, static_cast<off_t>(said.size()));
    if (got <= 0) break;
    said.append(part, static_cast<size_t>(got));
  }
  std::fwrite(said.data(), 1, said.size(), stderr);
  return said;
}

}  // namespace sluice::sim
