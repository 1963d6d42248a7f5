#include "common/base/invariant.h"

#include <cstdio>
#include <cstdlib>

namespace sluice {

void InvariantFailed(const char* file, int line, const char* condition,
                     std::string_view facts) {
  std::fprintf(stderr, "%s:%d: INVARIANT failed: %s: %.*s\n", file, line,
               condition, static_cast<int>(facts.size()), facts.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace sluice
