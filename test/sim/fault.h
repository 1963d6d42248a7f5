// What can go wrong in a simulated cluster, as data: a schedule can be printed,
// replayed and made smaller.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::sim {

// Drawn by every seed: those up to kLastDrawn. What harms records that the disk
// had, behind it, is drawn with --harms alone and ordered by scripts.
#define SLUICE_FAULT_KINDS(X)                                               \
  X(Kill)          /* node: the page cache lives; back after a while */    \
  X(CleanStop)     /* node: asked to stop, then started again */           \
  X(PowerLoss)     /* node: a prefix of what was unsynced survives */      \
  X(TornPowerLoss) /* node: of each sector any state since its last sync */ \
  X(KillAll)       /* every process at once */                             \
  X(PowerLossAll)                                                           \
  X(Pause)         /* node: SIGSTOP, then SIGCONT */                       \
  X(WipeLogs)      /* node: its broker's disk is replaced */               \
  X(SlowDisk)      /* node: amount us a task */                            \
  X(CutPair)       /* node, other */                                       \
  X(CutOneWay)     /* node to other */                                     \
  X(Isolate)       /* node from all others, clients too */                 \
  X(IsolateFromControllers)                                                 \
  X(Split)         /* amount: bits of who is on which side */              \
  X(Bridge)        /* amount likewise, and node reaches both sides */      \
  X(Ring)          /* each reaches two neighbours */                       \
  X(HalfOpen)      /* node, other: the connections of the moment */        \
  X(Reset)         /* node, other: likewise */                             \
  X(Loss)          /* everywhere: amount of a million messages */          \
  X(Delay)         /* everywhere: amount us more, exponential */           \
  X(SlowLink)      /* node to other: likewise */                           \
  X(Repeat)        /* everywhere: amount of a million calls come twice */  \
  X(DropKind)      /* everywhere: the message kind amount */               \
  X(WallJump)      /* node: amount ms */                                   \
  X(HungDisk)      /* node */                                              \
  X(FullDisk)      /* node */                                              \
  X(SyncError)     /* node: amount syncs, -1 for ever */                   \
  X(WriteError)    /* node: likewise */                                    \
  X(WipeRaft)      /* node: its controller's disk is replaced; once a run */ \
  X(BitFlip)       /* node: of a record below its durable mark */          \
  X(MisdirectedWrite) /* node: the next write to a log goes elsewhere */   \
  X(ReadError)     /* node: amount reads, -1 for ever */

enum class FaultKind : uint8_t {
#define X(name) k##name,
  SLUICE_FAULT_KINDS(X)
#undef X
};
inline constexpr FaultKind kLastDrawn = FaultKind::kWipeRaft;
inline constexpr int kFaultKindCount = 0
#define X(name) +1
    SLUICE_FAULT_KINDS(X)
#undef X
    ;

inline constexpr int kDrawnFaultKindCount = static_cast<int>(kLastDrawn) + 1;

std::string_view NameOf(FaultKind kind);

struct Fault {
  int64_t at_us = 0;  // after the faults' phase has begun
  FaultKind kind = FaultKind::kKill;
  int node = 0;
  int other = 0;
  int64_t for_us = 0;  // then it is mended
  int64_t amount = 0;
  int index = -1;  // in the plan's schedule, of which this may be a part

  // "[3] 1.250 s Kill node 2 for 0.8 s".
  std::string ToString() const;
};

using FaultSchedule = std::vector<Fault>;

}  // namespace sluice::sim
