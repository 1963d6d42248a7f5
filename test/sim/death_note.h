// What a process says on stderr, kept for its parent: why it died.
#pragma once

#include <string>
#include <string_view>

namespace sluice::sim {

// "RP4: broker/partition.cc:12: hw <= leo: RP4 hw=7 leo=6": the INVARIANT, the
// check or the sanitizer's finding that `said` names, with the number of the
// rule before it if it has one; "": none.
std::string WhyItDied(std::string_view said);

// A parent makes it, the child writes, the parent reads when that is dead.
class DeathNote {
 public:
  DeathNote();
  ~DeathNote();
  DeathNote(const DeathNote&) = delete;

  // In the child: what it says on stderr from now on.
  void Keep() const;
  // In the parent: what was said, which goes on to the parent's own stderr.
  std::string Take() const;

 private:
  int fd_ = -1;
};

}  // namespace sluice::sim
