// correctness.md 3.3 on a controller's Raft store, of the active controller and
// of a standby: it ends itself, and never takes what it cannot read for nothing
// or what it could not write for written; the others go on; with its disk
// mended it is one of them again.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/base/error.h"
#include "storage/mem_kv_store.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

using Operation = MemKvStore::Operation;

enum class At { kActive, kStandby };

int VictimOf(Scenario& s, At at) {
  const int active = s.ActiveController();
  for (const int id : s.sim().controller_ids()) {
    if ((id == active) == (at == At::kActive)) return id;
  }
  return 0;
}

// The victim is down; the other two decide, then it is back and has it all.
void OthersGoOnWithout(Scenario& s, const Tp& t, int victim,
                       const std::function<void()>& mend) {
  s.Expect(s.UntilController() != victim, "another one is active");
  const Tp later = s.CreateTopic("later");
  s.Produce(t, "m2");
  s.Produce(later, "n1");
  s.Expect(!s.sim().up(victim), "the victim is down still");
  s.Note("the disk works");
  mend();
  s.Boot(victim);
  s.Until("the victim has all that was decided", [&] {
    const auto& process = s.sim().at(victim).controller;
    return process != nullptr && process->raft().core() != nullptr &&
           process->controller().image()->FindTopic("later") != nullptr;
  });
  s.Converge({{t, {"m1", "m2"}}, {later, {"n1"}}});
}

// The next write fails -> nothing is told of it.
void AWriteFails(At at, const std::function<void(MemKvStore&)>& fault,
                 const std::function<void(MemKvStore&)>& mend,
                 ErrorCode code) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  s.Produce(t, "m1");
  const int victim = VictimOf(s, at);
  MemKvStore& kv = s.sim().at(victim).kv;
  s.Note("the Raft store takes no write");
  fault(kv);
  s.Propose(s.ActiveController(), "asked");
  s.UntilDead(victim);
  s.Expect(CodeOf(s.sim().at(victim).fatal.front()) == code,
           "it says what was wrong");
  OthersGoOnWithout(s, t, victim, [&] { mend(kv); });
}

void EveryWriteFails(At at, int count) {
  AWriteFails(
      at,
      [count](MemKvStore& kv) { kv.BreakDisk(Operation::kWrite, count); },
      [](MemKvStore& kv) { kv.ClearFaults(); }, ErrorCode::kStorageError);
}

void TheDiskIsFull(At at) {
  AWriteFails(
      at, [](MemKvStore& kv) { kv.SetFull(true); },
      [](MemKvStore& kv) { kv.SetFull(false); }, ErrorCode::kStorageFull);
}

// What it reads at its start is wrong, or cannot be read -> it does not start.
void AStartFails(At at, const std::function<void(MemKvStore&)>& fault,
                 const std::function<void(MemKvStore&)>& mend) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  s.Produce(t, "m1");
  const int victim = VictimOf(s, at);
  MemKvStore& kv = s.sim().at(victim).kv;
  s.Kill(victim);
  s.Note("the Raft store cannot be read");
  fault(kv);
  s.Boot(victim);
  s.UntilDead(victim);
  s.Expect(CodeOf(s.sim().at(victim).fatal.front()) == ErrorCode::kStorageError,
           "it says what was wrong");
  OthersGoOnWithout(s, t, victim, [&] { mend(kv); });
}

void AByteFlips(At at) {
  // Of the term and the vote.
  const auto flip = [](MemKvStore& kv) { EXPECT_TRUE(kv.FlipByte("h", 7)); };
  AStartFails(at, flip, flip);
}

// All of it, or the first thing that it looks for.
void ReadsFail(At at) {
  for (const int count : {MemKvStore::kForEver, 1}) {
    AStartFails(
        at, [count](MemKvStore& kv) { kv.BreakDisk(Operation::kRead, count); },
        [](MemKvStore& kv) { kv.ClearFaults(); });
  }
}

TEST(ControllerDiskScenarios, F50AByteOfTheActiveControllersStoreFlips) {
  AByteFlips(At::kActive);
}

TEST(ControllerDiskScenarios, F50AByteOfAStandbysStoreFlips) {
  AByteFlips(At::kStandby);
}

TEST(ControllerDiskScenarios, F52ReadErrorsOfTheActiveControllersStore) {
  ReadsFail(At::kActive);
}

TEST(ControllerDiskScenarios, F52ReadErrorsOfAStandbysStore) {
  ReadsFail(At::kStandby);
}

TEST(ControllerDiskScenarios, F52AWriteErrorOfTheActiveControllersStore) {
  EveryWriteFails(At::kActive, 1);
}

TEST(ControllerDiskScenarios, F52WriteErrorsForEverOfTheActiveControllersStore) {
  EveryWriteFails(At::kActive, MemKvStore::kForEver);
}

TEST(ControllerDiskScenarios, F52AWriteErrorOfAStandbysStore) {
  EveryWriteFails(At::kStandby, 1);
}

TEST(ControllerDiskScenarios, F52WriteErrorsForEverOfAStandbysStore) {
  EveryWriteFails(At::kStandby, MemKvStore::kForEver);
}

TEST(ControllerDiskScenarios, F53TheActiveControllersStoreIsFull) {
  TheDiskIsFull(At::kActive);
}

TEST(ControllerDiskScenarios, F53AStandbysStoreIsFull) {
  TheDiskIsFull(At::kStandby);
}

}  // namespace
}  // namespace sluice::scenario
