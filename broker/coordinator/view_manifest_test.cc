#include "broker/coordinator/view_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "common/base/crc32c.h"
#include "common/base/error.h"

namespace sluice::coordinator {
namespace {

using testing::ElementsAre;

TopicPartition Tp(int32_t partition) {
  return {TopicId(Uuid(7, 8)), PartitionIndex(partition)};
}

ViewManifest Manifest() {
  return {{{"000012.sst", 1'234'567, 0xdeadbeef}, {"CURRENT", 16, 1}},
          {{Tp(0), {Offset(81'234), LeaderEpoch(5)}},
           {Tp(15), {Offset(1), LeaderEpoch(0)}}}};
}

// With a checksum that is right.
std::string Signed(const std::string& body) {
  char hex[9];
  std::snprintf(hex, sizeof hex, "%08x", Crc32c(body));
  return body + "crc " + hex + "\n";
}

TEST(ViewManifestTest, ReadsWhatItWrote) {
  const auto read = DecodeManifest(EncodeManifest(Manifest()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, Manifest());
  EXPECT_EQ(read->Find(Tp(15))->next, Offset(1));
  EXPECT_EQ(read->Find(Tp(3)), nullptr);
}

TEST(ViewManifestTest, EveryFlippedBitAndEveryCutIsFound) {
  const std::string text = EncodeManifest(Manifest());
  for (size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] ^= 0x04;
    EXPECT_EQ(CodeOf(DecodeManifest(damaged).status()),
              ErrorCode::kStorageError)
        << at;
    EXPECT_FALSE(DecodeManifest(text.substr(0, at)).ok()) << at;
  }
}

TEST(ViewManifestTest, WhatCannotBeIsRefusedThoughItsChecksumIsRight) {
  const std::string title = "sluice view checkpoint 1\n";
  const std::string topic = Uuid(7, 8).ToString();
  EXPECT_TRUE(DecodeManifest(Signed(title)).ok());
  for (const std::string& line :
       {std::string("file ../x 1 00000000"), std::string("file .. 1 00000000"),
        std::string("file x -1 00000000"), std::string("file x 1 0000000g"),
        std::string("file x 1"), "view " + topic + " -1 0 0",
        "view " + topic + " 0 -1 0", "view " + topic + " 0 0 -1",
        std::string("view 12 0 0 0"), std::string("other")}) {
    EXPECT_EQ(CodeOf(DecodeManifest(Signed(title + line + "\n")).status()),
              ErrorCode::kStorageError)
        << line;
  }
  EXPECT_EQ(
      CodeOf(DecodeManifest(Signed("sluice view checkpoint 2\n")).status()),
      ErrorCode::kUnsupportedFormat);
}

std::vector<size_t> Gone(const std::vector<ViewManifest>& newest) {
  std::vector<const ViewManifest*> pointers;
  for (const ViewManifest& manifest : newest) pointers.push_back(&manifest);
  return Superseded(pointers, 2, 4);
}

ViewManifest With(std::vector<std::pair<int32_t, int64_t>> views) {
  ViewManifest manifest;
  for (const auto& [partition, next] : views) {
    manifest.views.push_back({Tp(partition), {Offset(next), LeaderEpoch(1)}});
  }
  return manifest;
}

TEST(ViewManifestTest, OneGoesWhenTwoNewerOnesHaveAllOfIt) {
  EXPECT_THAT(Gone({With({{0, 30}}), With({{0, 20}})}), ElementsAre());
  EXPECT_THAT(Gone({With({{0, 30}}), With({{0, 20}}), With({{0, 10}})}),
              ElementsAre(2));
}

// A view that is being rebuilt is missing, or not as far: the ones that have it
// stay, up to four in all.
TEST(ViewManifestTest, OneThatHasMoreOfAViewStays) {
  const ViewManifest whole = With({{0, 30}, {1, 30}});
  EXPECT_THAT(Gone({With({{0, 50}}), With({{0, 40}}), whole}), ElementsAre());
  EXPECT_THAT(Gone({With({{0, 50}, {1, 20}}), With({{0, 40}, {1, 10}}), whole}),
              ElementsAre());
  EXPECT_THAT(
      Gone({With({{0, 70}}), With({{0, 60}}), With({{0, 50}}), whole, whole}),
      ElementsAre(2, 4));
}

}  // namespace
}  // namespace sluice::coordinator
