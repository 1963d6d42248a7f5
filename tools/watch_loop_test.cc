#include "tools/watch_loop.h"

#include <gtest/gtest.h>

#include <deque>
#include <iostream>
#include <string>

#include "common/base/error.h"
#include "tools/cli_testing.h"

namespace sluice::cli {
namespace {

class WatchLoopTest : public testing::Test {
 protected:
  WatchLoop::Sight Seen(const std::string& state) {
    return {state, [state] { std::cout << state << '\n'; }, std::nullopt};
  }
  WatchLoop::Sight Last(const std::string& state, absl::Status ends) {
    WatchLoop::Sight sight = Seen(state);
    sight.ends = std::move(ends);
    return sight;
  }
  Ran Run(bool watch) {
    Redirected streams("");
    WatchLoop loop(700, {[this](int64_t us) {
                     EXPECT_EQ(us, 700);
                     ++pauses_;
                   }});
    status_ = loop.Run(watch, [this] {
      EXPECT_FALSE(looks_.empty()) << "looked once too often";
      auto look = std::move(looks_.front());
      looks_.pop_front();
      return look;
    });
    return {0, streams.out(), streams.err()};
  }

  std::deque<absl::StatusOr<WatchLoop::Sight>> looks_;
  absl::Status status_;
  int pauses_ = 0;
};

TEST_F(WatchLoopTest, WithoutAWatchThereIsOneLook) {
  looks_ = {Seen("a")};
  EXPECT_EQ(Run(false).out, "a\n");
  EXPECT_TRUE(status_.ok()) << status_;
  looks_ = {MakeError(ErrorCode::kBrokerNotAvailable, "away")};
  const Ran ran = Run(false);
  EXPECT_EQ(CodeOf(status_), ErrorCode::kBrokerNotAvailable);
  EXPECT_EQ(ran.err, "");  // who runs the command says it
  EXPECT_EQ(pauses_, 0);
}

TEST_F(WatchLoopTest, WhatHasNotChangedIsShownOnce) {
  looks_ = {Seen("a"), Seen("a"), Seen("b"), Seen("b"), Seen("a"),
            Last("a", MakeError(ErrorCode::kGroupIdNotFound, "gone"))};
  EXPECT_EQ(Run(true).out, "a\n\nb\n\na\n");
  EXPECT_EQ(CodeOf(status_), ErrorCode::kGroupIdNotFound);
  EXPECT_EQ(pauses_, 5);
}

// An empty state is a state: a healthy cluster has no issues.
TEST_F(WatchLoopTest, NothingIsShownOnceToo) {
  looks_ = {Seen(""), Seen(""), Last("", absl::OkStatus())};
  EXPECT_EQ(Run(true).out, "\n");
  EXPECT_TRUE(status_.ok()) << status_;
}

TEST_F(WatchLoopTest, AFailureThatPassesIsToldOnceAndWatchedThrough) {
  const absl::Status away = MakeError(ErrorCode::kBrokerNotAvailable, "away");
  const absl::Status moved = MakeError(ErrorCode::kNotCoordinator, "moved");
  looks_ = {away, away, Seen("a"), away, moved, moved, Seen("a"),
            MakeError(ErrorCode::kInvalidRequest, "never")};
  const Ran ran = Run(true);
  EXPECT_EQ(ran.out, "a\n");
  EXPECT_EQ(ran.err, "away\naway\nmoved\n");
  EXPECT_EQ(CodeOf(status_), ErrorCode::kInvalidRequest);
}

}  // namespace
}  // namespace sluice::cli
