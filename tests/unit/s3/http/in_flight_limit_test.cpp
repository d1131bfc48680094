#include "plugins/s3/http/in_flight_limit.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

using std::chrono::seconds;

constexpr TimePoint kLimitStart{std::chrono::hours(1)};

TEST(InFlightLimitTest, IsWhatIsConfiguredUntilTheServiceComplains) {
  InFlightLimit limit(16);
  for (int i = 0; i < 100; ++i) limit.answered();
  EXPECT_EQ(limit.limit(), 16U);
  EXPECT_FALSE(limit.is_lowered());
  EXPECT_EQ(InFlightLimit(0).limit(), 1U);
}

TEST(InFlightLimitTest, OneBurstOfRefusalsHalvesItOnce) {
  InFlightLimit limit(16);
  for (int i = 0; i < 16; ++i) limit.refused(kLimitStart, kLimitStart + seconds(1));
  EXPECT_EQ(limit.limit(), 8U);
  EXPECT_TRUE(limit.is_lowered());
  limit.refused(kLimitStart + seconds(2), kLimitStart + seconds(3));
  EXPECT_EQ(limit.limit(), 4U);
}

TEST(InFlightLimitTest, OneRequestIsAlwaysAllowed) {
  InFlightLimit limit(3);
  for (int i = 0; i < 10; ++i) limit.refused(kLimitStart + seconds(i), kLimitStart + seconds(i));
  EXPECT_EQ(limit.limit(), 1U);
}

TEST(InFlightLimitTest, GrowsByOneForEachRoundOfGoodAnswers) {
  InFlightLimit limit(8);
  limit.refused(kLimitStart, kLimitStart);
  ASSERT_EQ(limit.limit(), 4U);
  for (int i = 0; i < 3; ++i) limit.answered();
  EXPECT_EQ(limit.limit(), 4U);
  limit.answered();
  EXPECT_EQ(limit.limit(), 5U);
  for (int i = 0; i < 5 + 6 + 7; ++i) limit.answered();
  EXPECT_EQ(limit.limit(), 8U);
  EXPECT_FALSE(limit.is_lowered());
}

}  // namespace
}  // namespace nbdstack
