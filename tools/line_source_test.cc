#include "tools/line_source.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace sluice::cli {
namespace {

class LineSourceTest : public testing::Test {
 protected:
  void Write(const std::string& bytes) {
    path_ = std::string(std::getenv("TEST_TMPDIR")) + "/lines";
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  std::vector<std::string> Lines() {
    auto source = LineSource::Open(path_);
    EXPECT_TRUE(source.ok()) << source.status();
    std::vector<std::string> lines;
    std::string line;
    while (source->Next(line)) lines.push_back(line);
    status_ = source->status();
    return lines;
  }

  std::string path_;
  absl::Status status_;
};

TEST_F(LineSourceTest, EveryByteButTheNewlineIsOfTheLine) {
  Write(std::string("a\r\n\n\0b\n", 7) + "last");
  EXPECT_EQ(Lines(), (std::vector<std::string>{"a\r", "", std::string("\0b", 2),
                                               "last"}));
  EXPECT_TRUE(status_.ok()) << status_;
}

TEST_F(LineSourceTest, LinesAroundTheSizeOfAPieceAreWhole) {
  std::vector<std::string> lines;
  std::string bytes;
  for (int length = (64 << 10) - 3; length <= (64 << 10) + 3; ++length) {
    lines.push_back(std::string(static_cast<size_t>(length), 'x'));
    bytes += lines.back() + "\n";
  }
  Write(bytes);
  EXPECT_EQ(Lines(), lines);
}

TEST_F(LineSourceTest, ALineWithoutEndIsRefusedByItsNumber) {
  Write("first\n" + std::string(LineSource::kLineBytesMax + (64 << 10), 'x'));
  EXPECT_EQ(Lines(), std::vector<std::string>{"first"});
  EXPECT_EQ(CodeOf(status_), ErrorCode::kMessageTooLarge) << status_;
  EXPECT_NE(status_.ToString().find("line 2"), std::string::npos) << status_;
}

TEST_F(LineSourceTest, AnEmptyFileHasNoLine) {
  Write("");
  EXPECT_TRUE(Lines().empty());
  EXPECT_TRUE(status_.ok()) << status_;
}

}  // namespace
}  // namespace sluice::cli
