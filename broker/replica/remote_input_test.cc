// Whatever a peer says, in whatever order: no INVARIANT of this process breaks,
// and what was committed here stays.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "broker/replica/core_testing.h"
#include "common/base/random.h"

namespace sluice::replica {
namespace {

class RemoteInputTest : public CoreTest {
 protected:
  template <class Id>
  Id Some() {
    using Rep = typename Id::Underlying;
    constexpr Rep kOdd[] = {-1, 0,  1,  2,  3,
                            4,  10, 20, 30, std::numeric_limits<Rep>::max(),
                            std::numeric_limits<Rep>::min()};
    return Id(kOdd[random_.Below(std::size(kOdd))]);
  }
  // Often the right one: else nothing gets past the first check.
  LeaderEpoch Epoch() {
    return random_.OneIn(3) ? Some<LeaderEpoch>() : core_->leader_epoch();
  }
  Offset Place() {
    return random_.OneIn(3) ? core_->leo() : Some<Offset>();
  }
  NodeId Peer() { return random_.OneIn(4) ? Some<NodeId>() : kB; }

  Event FromAFollower() {
    const NodeId peer = Peer();
    const BrokerEpoch broker_epoch =
        random_.OneIn(4) ? Some<BrokerEpoch>() : EpochOf(kB);
    switch (random_.Below(3)) {
      case 0:
        return FollowerAdd{peer, broker_epoch, Epoch(), Place(),
                           Some<LeaderEpoch>()};
      case 1:
        return FollowerAck{peer, broker_epoch, Epoch(), Place(), Place(),
                           now_us_};
      default:
        return FollowerGone{peer};
    }
  }

  Event FromALeader() {
    constexpr ErrorCode kCodes[] = {
        ErrorCode::kOffsetOutOfRange, ErrorCode::kNotLeader,
        ErrorCode::kFencedLeaderEpoch, ErrorCode::kNone};
    switch (random_.Below(7)) {
      case 0: return AddAccepted{Epoch(), Place(), Some<Offset>()};
      case 1:
        return Diverging{Epoch(), Some<LeaderEpoch>(), Some<Offset>(),
                         Place()};
      case 2:
        return AddError{Epoch(), kCodes[random_.Below(std::size(kCodes))],
                        Place(), Place()};
      case 3: return DataReceived{Epoch(), Place()};
      case 4:
        return HighWatermarkReceived{Epoch(), Some<Offset>()};
      case 5: return LinkOpened{Peer()};
      default: return LinkClosed{Peer()};
    }
  }

  Recovered WithHistory() {
    return {Offset(1), Offset(10), Offset(4),
            *EpochHistory::From({{LeaderEpoch(0), Offset(1)},
                                 {LeaderEpoch(2), Offset(4)},
                                 {LeaderEpoch(3), Offset(8)}})};
  }

  Random random_{1};
};

TEST_F(RemoteInputTest, NoFollowerBreaksALeader) {
  for (int run = 0; run < 200; ++run) {
    Restart(WithHistory());
    MetadataChanged m = Metadata();
    m.leader_epoch = LeaderEpoch(5);
    m.durable = random_.OneIn(2);
    Do(m);
    for (int i = 0; i < 100; ++i) {
      const int64_t before = hw();
      Do(FromAFollower());
      if (i == 10) Do(EpochStartPersisted{LeaderEpoch(5), now_us_});
      if (i % 20 == 19) Append(core_->leo().value() + 1);
      if (i % 30 == 29) Flush(core_->leo().value());
      Wait(10'000);
      EXPECT_GE(hw(), before);
      EXPECT_LE(hw(), core_->leo().value());
    }
    // Of B alone; C has never said a true word.
    EXPECT_EQ(hw(), 4);
  }
}

TEST_F(RemoteInputTest, NoLeaderBreaksAFollower) {
  int cuts = 0;
  int failed = 0;
  for (int run = 0; run < 2'000; ++run) {
    Restart(WithHistory());
    MetadataChanged m = Metadata();
    m.leader = kB;
    m.leader_epoch = LeaderEpoch(5);
    Do(m);
    for (int i = 0; i < 50; ++i) {
      const int64_t before = hw();
      const auto actions = Do(FromALeader());
      for (const TruncateTo& cut : All<TruncateTo>(actions)) {
        EXPECT_GE(cut.target.value(), before);  // RP13
        ++cuts;
        Do(TruncateDone{cut.target});
      }
      for (const ResetTo& reset : All<ResetTo>(actions)) {
        EXPECT_GE(reset.start.value(), before);
        Do(TruncateDone{reset.start});
      }
      EXPECT_GE(hw(), before);  // RP5
      if (Has<Failed>(actions)) ++failed;
    }
  }
  EXPECT_GT(cuts, 100);
  EXPECT_GT(failed, 100);
}

}  // namespace
}  // namespace sluice::replica
