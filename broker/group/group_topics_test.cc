// What the coordinator knows of its members' subscriptions.
#include <gtest/gtest.h>

#include "broker/group/group_testing.h"
#include "common/consumer/consumer_protocol.h"

namespace sluice::group {
namespace {

TEST(GroupTopicsTest, TheTopicsThatItsMembersSubscribeTo) {
  GroupTester group;
  const auto subscription = [](std::vector<std::string> topics) {
    return consumer::EncodeSubscription({.topics = std::move(topics)});
  };
  EXPECT_EQ(group.core().SubscribedTopics(), std::nullopt);  // no type yet
  group.Admit({.protocols = {{"range", subscription({"a", "b"})}}});
  EXPECT_EQ(group.core().SubscribedTopics(), std::nullopt);  // none chosen
  group.Admit({.protocols = {{"range", subscription({"c"})}}});
  group.Advance(6 * kSecondUs);
  EXPECT_EQ(group.core().SubscribedTopics(),
            (std::set<std::string>{"a", "b", "c"}));
}

TEST(GroupTopicsTest, BytesOfAnotherKindAreNeverRead) {
  GroupTester group;
  group.MakeStable(1, {.protocols = {{"v1", "\x00\x01"}}, .type = "connect"});
  EXPECT_EQ(group.core().SubscribedTopics(), std::nullopt);
}

}  // namespace
}  // namespace sluice::group
