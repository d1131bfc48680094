#include "plugins/s3/http/transfer_hedging.hpp"

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

// Not a byte has come since it was sent, or since the first one.
bool should_repeat(TransferHedging& hedging, std::size_t bytes, Duration waited,
                   bool has_first_byte) {
  return hedging.should_repeat(
      {.bytes = bytes, .waited = waited, .silent = waited, .has_first_byte = has_first_byte});
}

TEST(TransferHedgingTest, NothingIsLateBeforeEnoughIsKnown) {
  TransferHedging hedging;
  answer(hedging, kMiB, 60);
  EXPECT_FALSE(should_repeat(hedging, kMiB, seconds(10), false));
  answer(hedging, kMiB, 10);
  EXPECT_TRUE(should_repeat(hedging, kMiB, seconds(10), false));
}

TEST(TransferHedgingTest, FirstAndLastByteHaveTheirOwnTimes) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  EXPECT_FALSE(should_repeat(hedging, kMiB, milliseconds(59), false));
  EXPECT_TRUE(should_repeat(hedging, kMiB, milliseconds(70), false));
  EXPECT_FALSE(should_repeat(hedging, kMiB, milliseconds(70), true));
  EXPECT_TRUE(should_repeat(hedging, kMiB, milliseconds(115), true));
}

// A slow line makes every transfer longer than those before it: twice as many would be slower
// still.
TEST(TransferHedgingTest, WhatStillComesIsNotLate) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  const auto late = [](Duration silent) {
    return TransferHedging::Late{
        .bytes = kMiB, .waited = seconds(10), .silent = silent, .has_first_byte = true};
  };
  EXPECT_FALSE(hedging.should_repeat(late(milliseconds(59))));
  EXPECT_TRUE(hedging.should_repeat(late(milliseconds(70))));
}

TEST(TransferHedgingTest, SizesAreNotMixed) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  EXPECT_FALSE(should_repeat(hedging, 2 * kMiB, seconds(10), false));
  EXPECT_FALSE(should_repeat(hedging, 4096, seconds(10), false));
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, 1024 * kMiB}) {
    EXPECT_FALSE(should_repeat(hedging, bytes, seconds(10), false));
  }
  EXPECT_TRUE(
      should_repeat(hedging, kMiB / 2 + 1, seconds(10), false));  // of the same power of two
}

TEST(TransferHedgingTest, AFewMillisecondsAreNeverLate) {
  TransferHedging hedging;
  for (int i = 0; i < 1000; ++i) hedging.answered(4096, milliseconds(1), milliseconds(1));
  EXPECT_FALSE(should_repeat(hedging, 4096, milliseconds(49), false));
  EXPECT_TRUE(should_repeat(hedging, 4096, milliseconds(51), false));
}

TEST(TransferHedgingTest, AtMostAFewPercentAreRepeated) {
  TransferHedging hedging;
  answer(hedging, kMiB, 1000);
  unsigned repeated = 0;
  while (should_repeat(hedging, kMiB, seconds(10), false)) ++repeated;
  EXPECT_EQ(repeated, TransferHedging::kSaved_max);
  answer(hedging, kMiB, 100);
  while (should_repeat(hedging, kMiB, seconds(10), false)) ++repeated;
  EXPECT_EQ(repeated, TransferHedging::kSaved_max + TransferHedging::kSharePercent);
}

}  // namespace
}  // namespace nbdstack
