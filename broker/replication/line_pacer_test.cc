#include "broker/replication/line_pacer.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(LinePacerTest, TheFirstIsWrittenAtOnceAndTheRestIsCounted) {
  LinePacer pacer;
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 5), "");
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 6), std::nullopt);
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 4 + LinePacer::kEveryUs),
            std::nullopt);
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 5 + LinePacer::kEveryUs),
            " (2 like it were left out, of any partition)");
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 5 + 2 * LinePacer::kEveryUs),
            "");
}

TEST(LinePacerTest, OneKindDoesNotHideAnother) {
  LinePacer pacer;
  EXPECT_EQ(pacer.Due(ErrorCode::kStorageFull, 0), "");
  EXPECT_EQ(pacer.Due(ErrorCode::kCorruptMessage, 0), "");
}

}  // namespace
}  // namespace sluice
