#include "plugins/s3/http/bandwidth_limit.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kStart{std::chrono::hours(1)};

TEST(BandwidthLimitTest, NoneLetsEverythingPass) {
  BandwidthLimit none(0);
  none.spend(std::size_t{1} << 40U);
  EXPECT_GT(none.allowance(kStart), std::size_t{1} << 40U);
}

TEST(BandwidthLimitTest, ADebtIsWaitedOff) {
  BandwidthLimit limit(1'000'000);
  EXPECT_GT(limit.allowance(kStart), 0U);
  limit.spend(1'050'000);  // 50 ms of them are there at first
  EXPECT_EQ(limit.allowance(kStart), 0U);
  EXPECT_EQ(limit.allowance(kStart + milliseconds(999)), 0U);
  EXPECT_GT(limit.ready_at(), kStart + seconds(1));
  EXPECT_LE(limit.ready_at(), kStart + milliseconds(1011));
  EXPECT_GT(limit.allowance(limit.ready_at()), 0U);
}

TEST(BandwidthLimitTest, IdleTimeEarnsNoLongBurst) {
  BandwidthLimit limit(1'000'000);
  limit.allowance(kStart);
  limit.allowance(kStart + seconds(3600));
  limit.spend(50'000);
  EXPECT_EQ(limit.allowance(kStart + seconds(3600)), 0U);
}

TEST(BandwidthLimitTest, KeepsTheRateOverTime) {
  BandwidthLimit limit(1'000'000);
  TimePoint now = kStart;
  std::size_t passed = 0;
  while (now < kStart + seconds(10)) {
    if (limit.allowance(now) > 0) {
      limit.spend(16384);
      passed += 16384;
    } else {
      now = std::max(limit.ready_at(), now + milliseconds(1));
    }
  }
  EXPECT_GE(passed, 9'900'000U);
  EXPECT_LE(passed, 10'000'000U + 50'000U + 16384U);
}

TEST(BandwidthLimitTest, ATinyRateMakesProgress) {
  BandwidthLimit limit(1);
  EXPECT_GT(limit.allowance(kStart), 0U);
  limit.spend(10);
  EXPECT_EQ(limit.allowance(kStart + seconds(9)), 0U);
  EXPECT_GT(limit.allowance(kStart + seconds(11)), 0U);
}

}  // namespace
}  // namespace nbdstack
