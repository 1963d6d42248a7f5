#include "broker/consume/open_options.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace sluice::consume {
namespace {

v1::ConsumeOpen Open() {
  v1::ConsumeOpen open;
  open.set_group_id("g");
  open.add_topics("b");
  open.add_topics("a");
  return open;
}

TEST(OpenOptionsTest, WhatIsNotSaidHasDefaults) {
  const auto options = OpenOptionsFrom(Open());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->topics, (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(options->membership.session_timeout_ms, 45'000);
  EXPECT_EQ(options->membership.max_poll_interval_ms, 300'000);
  EXPECT_EQ(options->membership.rebalance_timeout_ms, 300'000);
  EXPECT_EQ(options->membership.heartbeat_interval_ms, 3'000);
  ASSERT_EQ(options->membership.assignors.size(), 1u);
  EXPECT_EQ(options->membership.assignors[0],
            consumer::Assignor::kCooperativeSticky);
  EXPECT_EQ(options->reset, v1::ConsumeOpen::RESET_EARLIEST);
  EXPECT_EQ(options->ack_mode, AckLedger::Mode::kExplicit);
}

TEST(OpenOptionsTest, NonsenseIsRefusedByField) {
  const std::vector<std::pair<const char*, void (*)(v1::ConsumeOpen&)>> bad = {
      {"topics", [](auto& o) { o.clear_topics(); }},
      {"topic", [](auto& o) { o.add_topics(""); }},
      {"topic 'a' is there twice", [](auto& o) { o.add_topics("a"); }},
      {"client_id", [](auto& o) { o.set_client_id(std::string(250, 'c')); }},
      {"rack", [](auto& o) { o.set_rack(std::string(250, 'r')); }},
      {"session_timeout_ms", [](auto& o) { o.set_session_timeout_ms(-1); }},
      {"max_poll_interval_ms", [](auto& o) { o.set_max_poll_interval_ms(-1); }},
      {"reset_duration_ms", [](auto& o) { o.set_reset_duration_ms(-1); }},
      {"without RESET_DURATION", [](auto& o) { o.set_reset_duration_ms(1); }},
      {"without RESET_DURATION",
       [](auto& o) {
         o.set_reset(v1::ConsumeOpen::RESET_LATEST);
         o.set_reset_duration_ms(1);
       }},
      {"without reset_duration_ms",
       [](auto& o) { o.set_reset(v1::ConsumeOpen::RESET_DURATION); }},
      {"the most is",
       [](auto& o) {
         o.set_reset(v1::ConsumeOpen::RESET_DURATION);
         o.set_reset_duration_ms(kResetBackMaxMs + 1);
       }},
      {"ack_mode",
       [](auto& o) { o.set_ack_mode(v1::ConsumeOpen::AckMode(77)); }},
      {"reset", [](auto& o) { o.set_reset(v1::ConsumeOpen::Reset(77)); }},
      {"form", [](auto& o) { o.set_form(v1::PayloadForm(77)); }},
      {"assignor", [](auto& o) { o.add_assignors("none-such"); }},
      {"token", [](auto& o) { o.set_resume_token("xyz"); }},
  };
  for (const auto& [what, spoil] : bad) {
    v1::ConsumeOpen open = Open();
    spoil(open);
    const auto options = OpenOptionsFrom(open);
    EXPECT_EQ(CodeOf(options.status()), ErrorCode::kInvalidRequest) << what;
    EXPECT_NE(options.status().message().find(what), std::string::npos)
        << options.status();
  }
}

TEST(OpenOptionsTest, AnAgeGoesWithItsReset) {
  v1::ConsumeOpen open = Open();
  open.set_reset(v1::ConsumeOpen::RESET_DURATION);
  open.set_reset_duration_ms(kResetBackMaxMs);
  const auto options = OpenOptionsFrom(open);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->reset_back_ms, kResetBackMaxMs);
}

TEST(OpenOptionsTest, ATokenGoesOnAsItsMember) {
  ResumeToken token{"g", "member-1", std::string("\0secret", 7), 4, 0};
  token.subscription = OpenOptionsFrom(Open())->digest();
  v1::ConsumeOpen open = Open();
  open.set_resume_token(EncodeResumeToken(token));
  const auto options = OpenOptionsFrom(open);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->membership.resumes_member_id, "member-1");
  EXPECT_EQ(options->membership.resumes_stream, token.stream);
  EXPECT_FALSE(options->membership.resumes_changed);

  open.add_topics("c");
  EXPECT_TRUE(OpenOptionsFrom(open)->membership.resumes_changed);
  open.set_group_id("another");
  EXPECT_EQ(CodeOf(OpenOptionsFrom(open).status()), ErrorCode::kInvalidRequest);
}

TEST(ResumeTokenTest, ItIsReadAsItWasWrittenAndInNoOtherWay) {
  const ResumeToken token{"g", "m", std::string("\0\xff", 2), 7, 99};
  const std::string bytes = EncodeResumeToken(token);
  EXPECT_EQ(*DecodeResumeToken(bytes), token);
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_FALSE(DecodeResumeToken(bytes.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(DecodeResumeToken(bytes + "x").ok());
  EXPECT_FALSE(DecodeResumeToken("\x02" + bytes.substr(1)).ok());
  EXPECT_FALSE(DecodeResumeToken(EncodeResumeToken({"g", "", "s", 1, 1})).ok());
  EXPECT_FALSE(DecodeResumeToken(EncodeResumeToken({"g", "m", "", 1, 1})).ok());
}

}  // namespace
}  // namespace sluice::consume
