#include "test/fuzz/mutation.h"

#include <gtest/gtest.h>

#include <set>

#include "common/base/error.h"

namespace sluice::fuzz {
namespace {

const std::vector<std::string> kCorpus = {"", "abcdefgh", std::string(5000, 'x')};
const std::vector<std::string> kDictionary = {"TOKEN"};

TEST(MutatorTest, OneSeedGivesTheSameInputs) {
  Mutator first(7, kCorpus, kDictionary);
  Mutator second(7, kCorpus, kDictionary);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(first.Next(), second.Next());
}

TEST(MutatorTest, InputsDifferAndStayShort) {
  Mutator mutator(1, kCorpus, kDictionary);
  std::set<std::string> seen;
  bool token = false;
  for (int i = 0; i < 1000; ++i) {
    const std::string input = mutator.Next();
    ASSERT_LE(input.size(), kInputBytesMax);
    token |= input.find("TOKEN") != std::string::npos;
    seen.insert(input);
  }
  EXPECT_GT(seen.size(), 500u);
  EXPECT_TRUE(token);
}

TEST(DictionaryTest, TokensAreUnescaped) {
  const auto tokens = ParseDictionary(
      "# a comment\n\nmagic=\"SLJF\"\n  \"\\x00\\xff\\\\\\\"\"\n");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_EQ(tokens->size(), 2u);
  EXPECT_EQ((*tokens)[0], "SLJF");
  EXPECT_EQ((*tokens)[1], std::string("\0\xff\\\"", 4));
}

TEST(DictionaryTest, AMalformedLineIsRefused) {
  for (const char* text : {"no quotes", "\"", "\"\\x0\"", "\"\\n\"", "\"\\\""}) {
    EXPECT_EQ(CodeOf(ParseDictionary(text).status()),
              ErrorCode::kInvalidRequest)
        << text;
  }
}

}  // namespace
}  // namespace sluice::fuzz
