#include "plugins/s3/http/transfer_direction.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace {

using testing::kMiB;

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TimePoint kDirectionStart{std::chrono::hours(1)};

TEST(TransferDirectionTest, WithoutALimitEverythingPasses) {
  TransferDirection direction(0);
  EXPECT_FALSE(direction.is_limited());
  EXPECT_EQ(direction.take_some(kMiB, kDirectionStart), kMiB);
  EXPECT_TRUE(direction.take_all(kMiB, kDirectionStart));
}

TEST(TransferDirectionTest, PiecesAreCutOrHeldBack) {
  TransferDirection direction(kMiB);
  EXPECT_TRUE(direction.is_limited());
  const std::size_t taken = direction.take_some(kMiB, kDirectionStart);
  EXPECT_GT(taken, 0U);
  EXPECT_LT(taken, kMiB / 10);
  EXPECT_TRUE(direction.take_all(kMiB, kDirectionStart));  // as a whole, and everybody waits it off
  EXPECT_FALSE(direction.take_all(1, kDirectionStart));
  EXPECT_EQ(direction.take_some(1, kDirectionStart), 0U);
}

TEST(TransferDirectionTest, WhoWasRefusedIsToldWhenToTryAgain) {
  TransferDirection direction(kMiB);
  direction.take_all(kMiB, kDirectionStart);
  const TimePoint ready = direction.ready_at(kDirectionStart);
  EXPECT_GT(ready, kDirectionStart + milliseconds(900));
  EXPECT_LT(ready, kDirectionStart + milliseconds(1100));
  EXPECT_LE(direction.ready_at(kDirectionStart + seconds(2)), kDirectionStart + seconds(2));
  EXPECT_TRUE(direction.take_all(1, kDirectionStart + seconds(2)));
}

TEST(TransferDirectionTest, ItKnowsWhetherItHoldsSomebodyBack) {
  TransferDirection direction(kMiB);
  EXPECT_FALSE(direction.holds_somebody_back());
  direction.pause();
  direction.pause();
  direction.go_on();
  EXPECT_TRUE(direction.holds_somebody_back());
  direction.go_on();
  EXPECT_FALSE(direction.holds_somebody_back());
}

}  // namespace
}  // namespace nbdstack
