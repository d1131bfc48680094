// When the cache has to make room, and when its disk is full.
#include "filters/cache/state/pressure.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

class CachePressure : public ::testing::Test {
 protected:
  using Stored = Pressure::Stored;
  static constexpr TimePoint kNow{std::chrono::hours(1000)};
  static constexpr Duration kRetry = std::chrono::seconds(1);

  static CacheSettings of_slots(std::uint64_t slots) {
    CacheSettings settings;
    settings.max_size_bytes = slots * settings.block_size;
    settings.full_retry = kRetry;
    return settings;
  }

  Pressure pressure{of_slots(100)};  // thresholds at 95 and 80
};

TEST_F(CachePressure, HasAtLeastOneSlotAndNoBoundWithoutASize) {
  EXPECT_EQ(pressure.max_slots(), 100U);
  CacheSettings less_than_a_block;
  less_than_a_block.max_size_bytes = 1;
  EXPECT_EQ(Pressure(less_than_a_block).max_slots(), 1U);
  EXPECT_EQ(Pressure(CacheSettings()).max_slots(), kNoSlot - 2);
}

TEST_F(CachePressure, BeginsAboveTheHighThresholdAndEndsAtTheLowOne) {
  pressure.note_occupied(95);
  EXPECT_FALSE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(95, 0), 0U);
  pressure.note_occupied(96);
  EXPECT_TRUE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(96, 0), 16U);
  EXPECT_EQ(pressure.blocks_to_free(81, 0), 1U);
  EXPECT_TRUE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(80, 0), 0U);
  EXPECT_FALSE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(81, 0), 0U);
}

TEST_F(CachePressure, IsAlsoOfTooManyRangesOfZeros) {
  pressure.note_zero_ranges(Pressure::kMostZeroRanges);
  EXPECT_FALSE(pressure.flag());
  pressure.note_zero_ranges(Pressure::kMostZeroRanges + 1);
  EXPECT_TRUE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(0, Pressure::kMostZeroRanges + 1), 0U);
  EXPECT_TRUE(pressure.flag());
  EXPECT_EQ(pressure.blocks_to_free(0, Pressure::kMostZeroRanges), 0U);
  EXPECT_FALSE(pressure.flag());
}

TEST_F(CachePressure, AFullDiskIsNewsOnceAndTriedNowAndThen) {
  EXPECT_FALSE(pressure.is_time_to_try(kNow));
  EXPECT_TRUE(pressure.disk_is_full(kNow));
  EXPECT_FALSE(pressure.disk_is_full(kNow));
  EXPECT_FALSE(pressure.is_time_to_try(kNow + kRetry / 2));
  EXPECT_TRUE(pressure.is_time_to_try(kNow + kRetry));
  EXPECT_FALSE(pressure.is_time_to_try(kNow + kRetry));
  EXPECT_TRUE(pressure.is_time_to_try(kNow + 2 * kRetry));
}

TEST_F(CachePressure, TheTriedSlotTellsThatTheCacheMayGrow) {
  EXPECT_TRUE(pressure.disk_is_full(kNow));
  pressure.trying(7);
  EXPECT_EQ(pressure.stored(6, kNow), Stored::nothing_new);
  EXPECT_TRUE(pressure.is_disk_full());
  EXPECT_EQ(pressure.stored(7, kNow), Stored::grows_again);
  EXPECT_FALSE(pressure.is_disk_full());
  EXPECT_EQ(pressure.stored(7, kNow), Stored::nothing_new);
}

TEST_F(CachePressure, ThatThereIsRoomAgainIsNewsOnceTheCacheHasGrownForAWhile) {
  EXPECT_TRUE(pressure.disk_is_full(kNow));
  pressure.trying(7);
  EXPECT_EQ(pressure.stored(7, kNow), Stored::grows_again);
  const TimePoint later = kNow + Pressure::kGrowing_retries * kRetry;
  EXPECT_EQ(pressure.stored(8, later - kRetry), Stored::nothing_new);
  EXPECT_FALSE(pressure.is_roomy());
  EXPECT_EQ(pressure.stored(8, later), Stored::has_room_again);
  EXPECT_TRUE(pressure.is_roomy());
  EXPECT_EQ(pressure.stored(8, later), Stored::nothing_new);
  EXPECT_TRUE(pressure.disk_is_full(later));
}

// The cache has grown into what it had given back itself.
TEST_F(CachePressure, ADiskThatIsFullBeforeThatIsNoNews) {
  EXPECT_TRUE(pressure.disk_is_full(kNow));
  for (int round = 1; round < 100; ++round) {
    const TimePoint now = kNow + round * kRetry;
    pressure.trying(7);
    EXPECT_EQ(pressure.stored(7, now), Stored::grows_again);
    EXPECT_EQ(pressure.stored(8, now), Stored::nothing_new);
    EXPECT_FALSE(pressure.disk_is_full(now));
  }
}

TEST_F(CachePressure, ATriedSlotThatFailedTellsNothingAnyMore) {
  EXPECT_TRUE(pressure.disk_is_full(kNow));
  pressure.trying(7);
  EXPECT_FALSE(pressure.disk_is_full(kNow));
  EXPECT_EQ(pressure.stored(7, kNow), Stored::nothing_new);
  EXPECT_TRUE(pressure.is_disk_full());
}

TEST_F(CachePressure, ATurnOfTwoCallersIsABrokenInvariant) {
  EXPECT_BROKEN(pressure.end_turn(), "this does not hold: turn_taken_");
  pressure.take_turn();
  EXPECT_BROKEN(pressure.take_turn(), "this does not hold: !turn_taken_");
  pressure.end_turn();
  EXPECT_FALSE(pressure.is_turn_taken());
}

}  // namespace
}  // namespace nbdstack::testing
