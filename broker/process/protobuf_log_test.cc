#include "broker/process/protobuf_log.h"

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/env/sim_world.h"
#include "sluice/v1/group.pb.h"

namespace sluice {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

class Told final : public google::LogSink {
 public:
  Told() { google::AddLogSink(this); }
  ~Told() override { google::RemoveLogSink(this); }
  void send(google::LogSeverity, const char*, const char*, int,
            const google::LogMessageTime&, const char* message,
            size_t size) override {
    lines.emplace_back(message, size);
  }

  std::vector<std::string> lines;
};

// Field 1 is a string of one byte that begins no character.
bool ParseNonsense() {
  v1::HeartbeatRequest request;
  return request.ParseFromString(std::string("\x0a\x01\xff", 3));
}

TEST(ProtobufLogTest, AFloodOfTextsThatAreNoneIsAFewLines) {
  SimWorld world;
  TellOfProtobuf(&world);
  Told told;
  for (int i = 0; i < 10'000; ++i) EXPECT_FALSE(ParseNonsense());
  ASSERT_THAT(told.lines, ElementsAre(HasSubstr("invalid UTF-8")));
  EXPECT_THAT(told.lines[0], HasSubstr("group_id"));
  world.RunFor(kProtobufLineEveryUs - 1);
  ParseNonsense();
  EXPECT_THAT(told.lines, SizeIs(1));
  world.RunFor(1);
  ParseNonsense();
  ASSERT_THAT(told.lines, SizeIs(2));
  EXPECT_THAT(told.lines[1], HasSubstr("and 10000 lines before it"));
  // What was left out is told of once.
  world.RunFor(kProtobufLineEveryUs);
  ParseNonsense();
  ASSERT_THAT(told.lines, SizeIs(3));
  EXPECT_THAT(told.lines[2], testing::Not(HasSubstr("lines before it")));
}

}  // namespace
}  // namespace sluice
