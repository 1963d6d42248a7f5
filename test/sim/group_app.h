// A process that is a member of a group, whichever way.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "common/consumer/named_partition.h"

namespace sluice::sim {

using consumer::NamedPartition;

// Destroyed: it dies; what it had is nobody's until its session is over.
class GroupApp {
 public:
  virtual ~GroupApp() = default;

  // Leaves; over when that is answered.
  virtual void Close() = 0;
  // Its program does nothing for so long.
  virtual void Hang(int64_t us) = 0;
  // SIGSTOP, SIGCONT.
  virtual void Pause() = 0;
  virtual void Resume() = 0;
  virtual bool paused() const = 0;
  // How slow it is says nothing about whether a run converges.
  virtual void Hurry() {}
  // Left, or fenced.
  virtual bool over() const = 0;

  virtual int number() const = 0;
  // Negative: it is in none.
  virtual int32_t generation() const = 0;
  virtual std::set<NamedPartition> Assignment() const = 0;
  // Where it reads on. Who speaks Consume does not know: what the group has
  // committed counts.
  virtual bool knows_positions() const = 0;
  virtual std::optional<Offset> Position(const NamedPartition& tp) const = 0;
  virtual std::string ToString() const = 0;
};

}  // namespace sluice::sim
