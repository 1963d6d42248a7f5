#include "broker/process/flag_file.h"

#include <fstream>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::optional<FlagKind> KindOf(std::string_view name) {
  if (name == "node_id" || name == "listen") return FlagKind::kOther;
  if (name == "insecure") return FlagKind::kBool;
  return std::nullopt;
}

std::string Write(const std::string& name, const std::string& content) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << content;
  return path;
}

absl::StatusOr<std::vector<std::string>> Expand(
    const std::vector<std::string>& arguments) {
  return ExpandFlagFiles(arguments, KindOf);
}

std::string Refusal(const std::string& content) {
  const auto expanded =
      Expand({"sluiced", "--flagfile=" + Write("refused.flags", content)});
  EXPECT_EQ(CodeOf(expanded.status()), ErrorCode::kInvalidRequest);
  return std::string(expanded.status().message());
}

TEST(FlagFileTest, ItsLinesStandWhereTheFileWasNamed) {
  const std::string inner = Write("inner.flags", "-insecure\n");
  const std::string outer = Write(
      "outer.flags", "# a node\n\n  --node_id=1 \r\n--flagfile=" + inner +
                         "\n--listen=a=b");
  const auto expanded =
      Expand({"sluiced", "--noinsecure", "--flagfile", outer, "rest"});
  ASSERT_TRUE(expanded.ok()) << expanded.status();
  EXPECT_THAT(*expanded,
              ElementsAre("sluiced", "--noinsecure", "--node_id=1",
                          "-insecure", "--listen=a=b", "rest"));
}

TEST(FlagFileTest, SeveralFilesAreSeparatedByCommas) {
  const std::string a = Write("a.flags", "--node_id=1\n");
  const std::string b = Write("b.flags", "--noinsecure\n");
  EXPECT_THAT(*Expand({"sluiced", "-flagfile=" + a + "," + b}),
              ElementsAre("sluiced", "--node_id=1", "--noinsecure"));
}

TEST(FlagFileTest, AFlagThatDoesNotExistIsNamedWithItsLine) {
  EXPECT_THAT(Refusal("--node_id=1\n--nodeid=2\n"),
              HasSubstr("refused.flags:2: there is no flag --nodeid"));
  EXPECT_THAT(Refusal("--nolisten\n"), HasSubstr("no flag --nolisten"));
}

TEST(FlagFileTest, ALineThatIsNoFlagAndAFlagWithoutItsValueAreErrors) {
  EXPECT_THAT(Refusal("node_id=1\n"), HasSubstr(":1: 'node_id=1' is no flag"));
  EXPECT_THAT(Refusal("--node_id\n"), HasSubstr(":1: --node_id has no value"));
}

TEST(FlagFileTest, AFileThatIsMissingOrNamesItselfIsAnError) {
  EXPECT_THAT(std::string(
                  Expand({"sluiced", "--flagfile=/no/such"}).status().message()),
              HasSubstr("/no/such: cannot be read: No such file"));
  const std::string path = testing::TempDir() + "/self.flags";
  Write("self.flags", "--flagfile=" + path + "\n");
  EXPECT_THAT(std::string(
                  Expand({"sluiced", "--flagfile=" + path}).status().message()),
              HasSubstr("does one name itself?"));
}

}  // namespace
}  // namespace sluice
