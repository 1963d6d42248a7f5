// correctness.md 3.3: what disks do wrong, on a leader's and on a follower's
// machine. Each script: the fault, what the node owes (it dies, or sets the
// replica aside, or refuses and goes on), and that the others go on: nothing
// that was acknowledged is lost, nothing rotten is ever handed out.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/str_cat.h"
#include "test/scenario/leader_frames.h"
#include "test/scenario/scenario.h"

namespace sluice::scenario {
namespace {

using Operation = Scenario::Operation;

// Marks are on the disk by then: what is found below them is no torn end.
constexpr int64_t kMarksMs = 2'000;

// Every read of a log asks the disk.
ScenarioOptions ReadsFromDisk() { return {.tail_cache_bytes = 1}; }

ScenarioOptions QuickShrink() {
  return {.settings = {{"replica.lag.time.max.ms", "1000"}}};
}

// m1, m2, ... are acknowledged, at 0, 1, ...
void Fill(Scenario& s, const Tp& t, int count) {
  for (int i = 1; i <= count; ++i) s.Produce(t, StrCat("m", i));
}

void UntilAnotherLeads(Scenario& s, const Tp& t, int node) {
  s.Until(StrCat(node, " leads no more"), [&] {
    const PartitionImage& state = s.Committed(t);
    if (state.leader == kNoNode || state.leader == NodeId(node)) return false;
    const auto* core = s.FindCore(state.leader.value(), t);
    return core != nullptr && core->state() == replica::State::kLeading &&
           core->hw_is_truth();
  });
}

// Its files, not deleted; a new log begins beside them.
void UntilSetAside(Scenario& s, int node) {
  s.Until(StrCat("a log of ", node, " is set aside"), [&] {
    const auto files = s.sim().LogFiles(node);
    return std::any_of(files.begin(), files.end(), [](const auto& file) {
      return file.find(".stray-") != std::string::npos;
    });
  });
}

// All three hold `values`, and are in the ISR.
void UntilFilledAgain(Scenario& s, const Tp& t, const Values& values) {
  s.UntilIsr(t, {1, 2, 3});
  for (const int broker : {1, 2, 3}) s.UntilLog(broker, t, values);
}

// ---- F50: bits that flip ----

// A reader finds it -> the reader gets nothing of it, the replica is FAILED,
// another leads, and the log is copied anew (ST1, ST2).
TEST(DiskScenarios, F50ABitThatFlipsOnTheLeadersDiskCostsItsLeadership) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const int A = s.Committed(t).leader.value();
  Fill(s, t, 3);
  s.RunFor(kMarksMs);
  s.FlipBit(A, t, 1);
  const Scenario::Fetched rotten = s.Fetch(A, t, 1);
  s.Expect(rotten.code != ErrorCode::kNone && rotten.values.empty(),
           "nothing of a rotten batch is read");
  UntilAnotherLeads(s, t, A);
  s.ExpectValue(t, 1, "m2");
  s.Produce(t, "m4");
  UntilSetAside(s, A);
  UntilFilledAgain(s, t, {"m1", "m2", "m3", "m4"});
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

// A follower does not read its log: it is found when it leads -> the next one
// leads.
TEST(DiskScenarios, F50ABitThatFlipsOnAFollowersDiskIsFoundWhenItLeads) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 3);
  s.RunFor(kMarksMs);
  s.FlipBit(B, t, 1);
  s.Kill(A);
  s.UntilLeader(t, B);
  const Scenario::Fetched rotten = s.Fetch(B, t, 1);
  s.Expect(rotten.code != ErrorCode::kNone && rotten.values.empty(),
           "nothing of a rotten batch is read");
  s.Boot(A);
  UntilAnotherLeads(s, t, B);
  s.ExpectValue(t, 1, "m2");
  UntilSetAside(s, B);
  UntilFilledAgain(s, t, {"m1", "m2", "m3"});
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// Recovery finds it, below the durable mark -> never cut as a torn end, never
// electable; copied anew.
TEST(DiskScenarios, F50ABitThatFlippedIsFoundByARestartAndNotCut) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 3);
  s.RunFor(kMarksMs);
  s.PowerCut(B);
  s.FlipBit(B, t, 1);
  // What it copies anew would hide what it took for good.
  const auto copies = s.Watch({MessageKind::kLeaderFrame, A, B,
                               [](const Message& message) {
                                 return !sim::Wire<LeaderFrame>::Decode(
                                             message.bytes)
                                             .data.empty();
                               }});
  s.Boot(B);
  UntilSetAside(s, B);
  UntilFilledAgain(s, t, {"m1", "m2", "m3"});
  s.Expect(copies->count > 0, "B has copied the log again");
  s.Kill(A);
  s.UntilLeader(t, B);
  s.ExpectValue(t, 1, "m2");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// A reader of a follower finds it -> the follower, which goes on in the same
// process and under the same leader, is filled again from nothing: what it had
// reported before does not bring it back into the ISR.
TEST(DiskScenarios, F50WhatAFollowerThatIsFilledAgainHadReportedIsVoid) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 3);
  s.RunFor(kMarksMs);
  const LeaderEpoch epoch = s.Committed(t).leader_epoch;
  const auto refill = s.Hold(DataOfLeader(A, B));
  s.FlipBit(B, t, 1);
  const Scenario::Fetched rotten = s.FetchNear(B, t, 1);
  s.Expect(rotten.code != ErrorCode::kNone && rotten.values.empty(),
           "nothing of a rotten batch is read");
  s.UntilIsr(t, {A, C});
  UntilSetAside(s, B);
  s.UntilCaught(refill);
  s.Throughout(3'000, "B has nothing yet", [&] { return !s.IsInIsr(t, B); });
  s.Expect(s.sim().up(B) && s.Committed(t).leader_epoch == epoch,
           "B lives, and A leads on");
  s.Deliver(refill);
  UntilFilledAgain(s, t, {"m1", "m2", "m3"});
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// ---- F51: writes that go astray ----

// The page cache shows the record in its place, the disk has it a page further:
// found when the machine has lost its power -> as above, whoever it was.
void AWriteGoesAstray(bool at_leader) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const int victim = at_leader ? A : B;
  Fill(s, t, 1);
  s.RunFor(kMarksMs);  // the next write is the record's
  s.MisdirectWrite(victim);
  s.Produce(t, "m2");
  s.Produce(t, "m3");
  s.RunFor(kMarksMs);
  s.PowerCut(victim);
  if (at_leader) UntilAnotherLeads(s, t, A);
  s.ExpectValue(t, 1, "m2");
  s.Boot(victim);
  UntilSetAside(s, victim);
  UntilFilledAgain(s, t, {"m1", "m2", "m3"});
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

TEST(DiskScenarios, F51AWriteThatGoesAstrayOnTheLeadersDiskIsFound) {
  AWriteGoesAstray(/*at_leader=*/true);
}

TEST(DiskScenarios, F51AWriteThatGoesAstrayOnAFollowersDiskIsFound) {
  AWriteGoesAstray(/*at_leader=*/false);
}

// ---- F52: EIO ----

// On read -> that request fails, never as an end or zeros (ST10); the next one,
// or all once the disk is mended, find everything. Writes go on.
TEST(DiskScenarios, F52AReadErrorOnTheLeadersDiskFailsItsRequestAlone) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.BreakDisk(A, Operation::kRead, 1);
  s.Expect(s.Fetch(A, t, 0).code == ErrorCode::kStorageError,
           "an unreadable sector is an error");
  s.ExpectValue(t, 0, "m1");
  s.BreakDisk(A, Operation::kRead);
  for (int i = 0; i < 3; ++i) {
    s.Expect(s.Fetch(A, t, 0).code == ErrorCode::kStorageError,
             "an unreadable disk is an error each time");
    s.RunFor(1'000);
  }
  s.MendDisk(A);
  s.ExpectValue(t, 0, "m1");
  s.ExpectLeader(t, A);
  s.Produce(t, "m3");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// What readers and followers in sync want is in memory: the leader goes on.
TEST(DiskScenarios, F52ALeaderThatCannotReadItsDiskGoesOnFromMemory) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.BreakDisk(A, Operation::kRead);
  s.Produce(t, "m3");
  s.ExpectValue(t, 2, "m3");
  s.RunFor(15'000);
  s.Produce(t, "m4");
  s.ExpectLeader(t, A);
  s.ExpectIsr(t, {1, 2, 3});
  s.MendDisk(A);
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

// What followers want is not: another in sync leads before they have to leave
// the ISR. The old leader would begin anew, which takes reading too: it ends.
TEST(DiskScenarios, F52ALeaderThatCannotFeedItsFollowersIsReplaced) {
  Scenario s(ReadsFromDisk());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.RunFor(kMarksMs);
  s.BreakDisk(A, Operation::kRead);
  s.MayBeSetAside(A);
  const AnswerPtr m3 = s.Send(A, t, "m3");
  UntilAnotherLeads(s, t, A);
  s.Expect(!m3->acked(), "nobody but the old leader has it");
  s.Produce(t, "m4");
  s.UntilDead(A);
  s.MendDisk(A);
  s.Boot(A);
  UntilFilledAgain(s, t, {"m1", "m2", "m4"});
  s.Converge({{t, {"m1", "m2", "m4"}}});
}

// A process that cannot read its disk, or one sector of what it begins with,
// does not start, and does not take the disk for an empty one; the others go on.
TEST(DiskScenarios, F52AReadErrorOnAFollowersDiskKeepsItFromStarting) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.BreakDisk(B, Operation::kRead);
  s.Produce(t, "m3");  // nobody reads there
  s.ExpectIsr(t, {1, 2, 3});
  s.Kill(B);
  s.Boot(B);
  s.UntilDead(B);
  s.UntilIsr(t, {A, C});
  s.Produce(t, "m4");
  s.MendDisk(B);
  s.sim().at(B).fs.FailNextOn("journal", Operation::kRead);
  s.Boot(B);
  s.Expect(!s.sim().up(B), "a sector of the journal is enough");
  s.Boot(B);
  UntilFilledAgain(s, t, {"m1", "m2", "m3", "m4"});
  s.Expect(s.sim().LogFiles(B).size() == 1, "nothing was set aside");
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

// On write or fsync, once or for ever -> the process ends (ST4): what it was
// asked for is not acknowledged by it, another leads, or the ISR goes on
// without it; when it is back it has every record.
void TheDiskFails(Operation operation, int count, bool at_leader) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  const int victim = at_leader ? A : B;
  Fill(s, t, 2);
  s.RunFor(kMarksMs);
  s.BreakDisk(victim, operation, count);
  const AnswerPtr m3 = s.Send(A, t, "m3");
  s.UntilDead(victim);
  if (at_leader) {
    UntilAnotherLeads(s, t, A);
    s.Expect(!m3->acked(), "a leader that cannot write acknowledges nothing");
    s.Produce(t, "m4");
    s.ExpectValue(t, 0, "m1");
  } else {
    s.UntilAcked(m3);
    s.UntilIsr(t, {A, C});
    s.Produce(t, "m4");
  }
  if (count == MemFileSystem::kForEver) {
    // Started again on the same disk it dies again, and nothing else does.
    s.Boot(victim);
    s.UntilDead(victim);
    s.Produce(t, "m5");
  }
  s.MendDisk(victim);
  s.Boot(victim);
  s.UntilIsr(t, {1, 2, 3});
  s.Converge();
}

TEST(DiskScenarios, F52AWriteErrorOnTheLeadersDiskEndsTheProcess) {
  TheDiskFails(Operation::kWrite, 1, /*at_leader=*/true);
}

TEST(DiskScenarios, F52WriteErrorsForEverOnTheLeadersDiskEndTheProcess) {
  TheDiskFails(Operation::kWrite, MemFileSystem::kForEver, /*at_leader=*/true);
}

TEST(DiskScenarios, F52AWriteErrorOnAFollowersDiskEndsTheProcess) {
  TheDiskFails(Operation::kWrite, 1, /*at_leader=*/false);
}

TEST(DiskScenarios, F52WriteErrorsForEverOnAFollowersDiskEndTheProcess) {
  TheDiskFails(Operation::kWrite, MemFileSystem::kForEver, /*at_leader=*/false);
}

TEST(DiskScenarios, F52AFailedSyncOnTheLeadersDiskEndsTheProcess) {
  TheDiskFails(Operation::kSyncAny, 1, /*at_leader=*/true);
}

TEST(DiskScenarios, F52FailedSyncsForEverOnTheLeadersDiskEndTheProcess) {
  TheDiskFails(Operation::kSyncAny, MemFileSystem::kForEver,
               /*at_leader=*/true);
}

TEST(DiskScenarios, F52AFailedSyncOnAFollowersDiskEndsTheProcess) {
  TheDiskFails(Operation::kSyncAny, 1, /*at_leader=*/false);
}

TEST(DiskScenarios, F52FailedSyncsForEverOnAFollowersDiskEndTheProcess) {
  TheDiskFails(Operation::kSyncAny, MemFileSystem::kForEver,
               /*at_leader=*/false);
}

// ---- F53: no room ----

// The leader refuses by name and keeps nothing of what it refused, reads and
// metadata go on (ST9); a moment later a replica that has room leads, and takes
// what the other refused. With room for a while the first is in sync again.
TEST(DiskScenarios, F53AFullDiskOfTheLeaderMovesItsLeaderships) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.FillDisk(A);
  s.UntilRefused(s.Send(A, t, "no room"), ErrorCode::kStorageFull);
  s.ExpectValue(t, 1, "m2");
  UntilAnotherLeads(s, t, A);
  s.Expect(s.sim().up(A), "A lives");
  s.Produce(t, "m3");
  s.RunFor(5'000);  // marks wait for room, too
  s.MendDisk(A);
  s.Produce(t, "m4");
  s.UntilIsr(t, {1, 2, 3}, /*limit_ms=*/60'000);
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

// Who holds the only replica has nobody to hand it to: it refuses until there
// is room, and takes records without a restart.
TEST(DiskScenarios, F53AFullDiskOfTheOnlyReplicaRefusesUntilThereIsRoom) {
  Scenario s;
  const Tp t = s.CreateTopic("t", {.replicas = 1, .min_isr = 1});
  const int A = s.Committed(t).leader.value();
  Fill(s, t, 2);
  s.FillDisk(A);
  s.UntilRefused(s.Send(A, t, "no room"), ErrorCode::kStorageFull);
  s.RunFor(5'000);
  s.UntilRefused(s.Send(A, t, "still none"), ErrorCode::kStorageFull);
  s.ExpectValue(t, 1, "m2");
  s.ExpectLeader(t, A);
  s.MendDisk(A);
  s.Produce(t, "m3");
  s.Converge({{t, {"m1", "m2", "m3"}}});
}

// A follower lags, leaves the ISR and the others go on; with room again, and a
// while later, it is back.
TEST(DiskScenarios, F53AFullDiskOfAFollowerCostsItsPlaceInTheIsr) {
  Scenario s(QuickShrink());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.FillDisk(B);
  const AnswerPtr m3 = s.Send(A, t, "m3");
  s.UntilIsr(t, {A, C});
  s.UntilAcked(m3);
  s.Produce(t, "m4");
  s.Expect(s.sim().up(B), "B lives");
  s.MendDisk(B);
  s.UntilIsr(t, {1, 2, 3}, /*limit_ms=*/60'000);
  UntilFilledAgain(s, t, {"m1", "m2", "m3", "m4"});
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

// ---- F56: a disk that answers nothing ----

// A leader's durable position stands, and so does the high watermark: nothing
// is acknowledged -> it is demoted, another leads; the process gives its disk up
// and ends; back, it is in sync again once its disk has been fast for a while.
TEST(DiskScenarios, F56AHungDiskOfTheLeaderEndsTheProcess) {
  Scenario s;
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.HangDisk(A);
  const AnswerPtr m3 = s.Send(A, t, "m3");
  s.UntilDead(A, /*limit_ms=*/35'000);
  UntilAnotherLeads(s, t, A);
  s.Expect(!m3->acked(), "what is not on the leader's disk is not acknowledged");
  s.Produce(t, "m4");
  s.ExpectValue(t, 0, "m1");
  s.FreeDisk(A);
  s.Boot(A);
  s.UntilIsr(t, {1, 2, 3}, /*limit_ms=*/60'000);
  s.Converge();
}

// A follower's durable position stands -> it leaves the ISR, the others go on.
TEST(DiskScenarios, F56AHungDiskOfAFollowerCostsItsPlaceInTheIsr) {
  Scenario s(QuickShrink());
  const Tp t = s.CreateTopic("t");
  const auto [A, B, C] = s.ReplicasOf<3>(t);
  Fill(s, t, 2);
  s.HangDisk(B);
  const AnswerPtr m3 = s.Send(A, t, "m3");
  s.UntilIsr(t, {A, C});
  s.UntilAcked(m3);
  s.Produce(t, "m4");
  s.Expect(s.sim().up(B), "B lives");
  s.FreeDisk(B);
  UntilFilledAgain(s, t, {"m1", "m2", "m3", "m4"});
  s.Converge({{t, {"m1", "m2", "m3", "m4"}}});
}

}  // namespace
}  // namespace sluice::scenario
