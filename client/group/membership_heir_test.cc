// A process that goes on as the member that another one was.
#include <gtest/gtest.h>

#include "client/group/membership_testing.h"

namespace sluice {
namespace {

using namespace membership;  // NOLINT
using consumer::Assignor;
using Phase = GroupMembership::Phase;

class HeirTest : public MembershipTest {
 protected:
  // Generation 2 was made with a member "m" that owned `owned`.
  Joined JoinedFor(CallId call, const Partitions& owned) {
    Joined joined = JoinedAs(call, "m", 2, "other", "cooperative-sticky");
    consumer::Subscription then;
    then.topics = {"t"};
    then.owned = {owned.begin(), owned.end()};
    v1::JoinedMember* own = joined.response.add_members();
    own->set_member_id("m");
    own->set_metadata(consumer::EncodeSubscription(then));
    return joined;
  }
};

// The one before it died between the assignment and giving back: nobody else
// can say that partition 0 is free (GR6).
TEST_F(HeirTest, WhoGoesOnForAnotherJoinsOnceMoreForWhatThatOneOwed) {
  Make({Assignor::kCooperativeSticky}, "i1");
  const SendJoin join = BeginJoin();
  Do(JoinedFor(join.call, Of("t", {0, 1})));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {1}))});
  EXPECT_EQ(The<Assigned>().added, Of("t", {1}));
  EXPECT_EQ(Find<Release>(), nullptr) << "this process never had it";
  const auto again = The<SendJoin>();
  const auto said =
      consumer::DecodeSubscription(again.request.protocols(0).metadata());
  ASSERT_TRUE(said.ok());
  EXPECT_EQ(Partitions(said->owned.begin(), said->owned.end()), Of("t", {1}));
  EXPECT_EQ(said->generation, 2);
  // Once: from here on it is as it says itself.
  Do(JoinedAs(again.call, "m", 3, "other", "cooperative-sticky"));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {1}))});
  EXPECT_EQ(m_->phase(), Phase::kStable);
  EXPECT_EQ(Find<SendJoin>(), nullptr);
}

TEST_F(HeirTest, WhoGoesOnForOneThatOwedNothingStays) {
  Make({Assignor::kCooperativeSticky}, "i1");
  const SendJoin join = BeginJoin();
  Do(JoinedFor(join.call, Of("t", {1})));
  Do(Synced{The<SendSync>().call, absl::OkStatus(), BytesOf(Of("t", {0, 1}))});
  EXPECT_EQ(m_->phase(), Phase::kStable);
  EXPECT_EQ(Find<SendJoin>(), nullptr);
}

}  // namespace
}  // namespace sluice
