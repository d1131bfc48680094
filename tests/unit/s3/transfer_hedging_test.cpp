#include "plugins/s3/transfer_hedging.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace {

using testing::kMiB;

using std::chrono::milliseconds;
using std::chrono::seconds;

void answer(TransferHedging& hedging, std::size_t bytes, int count) {
  for (int i = 0; i < count; ++i) hedging.answered(bytes, milliseconds(60), milliseconds(100));
}

TEST(TransferHedgingTest, NothingIsLateBeforeEnoughIsKnown) {
  TransferHedging hedging;
  answer(hedging, kMiB, 60);
  EXPECT_FALSE(hedging.should_repeat(kMiB, seconds(10), false));
  answer(hedging, kMiB, 10);
  EXPECT_TRUE(hedging.should_repeat(kMiB, seconds(10), false));
}

TEST(TransferHedgingTest, FirstAndLastByteHaveTheirOwnTimes) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  EXPECT_FALSE(hedging.should_repeat(kMiB, milliseconds(59), false));
  EXPECT_TRUE(hedging.should_repeat(kMiB, milliseconds(70), false));
  EXPECT_FALSE(hedging.should_repeat(kMiB, milliseconds(70), true));
  EXPECT_TRUE(hedging.should_repeat(kMiB, milliseconds(115), true));
}

TEST(TransferHedgingTest, SizesAreNotMixed) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  EXPECT_FALSE(hedging.should_repeat(2 * kMiB, seconds(10), false));
  EXPECT_FALSE(hedging.should_repeat(4096, seconds(10), false));
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, 1024 * kMiB}) {
    EXPECT_FALSE(hedging.should_repeat(bytes, seconds(10), false));
  }
  EXPECT_TRUE(hedging.should_repeat(kMiB / 2 + 1, seconds(10), false));  // of the same power of two
}

TEST(TransferHedgingTest, AFewMillisecondsAreNeverLate) {
  TransferHedging hedging;
  for (int i = 0; i < 1000; ++i) hedging.answered(4096, milliseconds(1), milliseconds(1));
  EXPECT_FALSE(hedging.should_repeat(4096, milliseconds(49), false));
  EXPECT_TRUE(hedging.should_repeat(4096, milliseconds(51), false));
}

TEST(TransferHedgingTest, AtMostAFewPercentAreRepeated) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  unsigned repeated = 0;
  while (hedging.should_repeat(kMiB, seconds(10), false)) ++repeated;
  EXPECT_EQ(repeated, TransferHedging::kSavedMax);
  answer(hedging, kMiB, 100);
  while (hedging.should_repeat(kMiB, seconds(10), false)) ++repeated;
  EXPECT_EQ(repeated, TransferHedging::kSavedMax + TransferHedging::kSharePercent);
}

}  // namespace
}  // namespace nbdstack
