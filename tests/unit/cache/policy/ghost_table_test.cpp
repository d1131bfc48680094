#include "filters/cache/policy/ghost_table.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace nbdstack {
namespace {

TEST(GhostTable, RemembersNothingBeforeItHasRoom) {
  GhostTable ghosts;
  ghosts.remember({1});
  EXPECT_FALSE(ghosts.take({1}));
  EXPECT_EQ(ghosts.capacity(), 0U);
}

TEST(GhostTable, TellsABlockOnce) {
  GhostTable ghosts;
  ghosts.grow_to(0);
  ghosts.remember({1});
  ghosts.remember({2});
  EXPECT_TRUE(ghosts.take({1}));
  EXPECT_FALSE(ghosts.take({1}));
  EXPECT_TRUE(ghosts.take({2}));
}

TEST(GhostTable, ForgetsTheOldestOfABucketFirst) {
  GhostTable ghosts;
  ghosts.grow_to(16);
  ASSERT_EQ(ghosts.capacity(), 16U);  // one bucket: what is oldest is certain
  for (std::uint64_t block = 0; block < 20; ++block) ghosts.remember({block});
  for (std::uint64_t block = 0; block < 20; ++block) {
    EXPECT_EQ(ghosts.take({block}), block >= 4) << block;
  }
}

TEST(GhostTable, KeepsThePlaceOfOneThatWasTakenOutFree) {
  GhostTable ghosts;
  ghosts.grow_to(16);
  for (std::uint64_t block = 0; block < 16; ++block) ghosts.remember({block});
  EXPECT_TRUE(ghosts.take({7}));
  ghosts.remember({100});
  EXPECT_TRUE(ghosts.take({0}));
}

TEST(GhostTable, HasRoomForBetweenHalfAndAllThatItIsAskedFor) {
  GhostTable ghosts;
  for (std::size_t wanted = 16; wanted < 100'000; wanted += wanted / 3) {
    ghosts.grow_to(wanted);
    EXPECT_LE(ghosts.capacity(), wanted);
    EXPECT_GT(2 * ghosts.capacity(), wanted);
  }
  const std::size_t capacity = ghosts.capacity();
  ghosts.grow_to(5);
  EXPECT_EQ(ghosts.capacity(), capacity);
}

TEST(GhostTable, ForgetsNothingWhenItGrows) {
  GhostTable ghosts;
  for (std::uint64_t block = 0; block < 10'000; ++block) {
    ghosts.grow_to(32 * (block + 1));  // never so full that a bucket overflows
    ghosts.remember({block});
  }
  for (std::uint64_t block = 0; block < 10'000; ++block) EXPECT_TRUE(ghosts.take({block}));
}

TEST(GhostTable, KeepsTheOrderOfABucketWhenItGrows) {
  GhostTable ghosts;
  ghosts.grow_to(16);
  for (std::uint64_t block = 0; block < 16; ++block) ghosts.remember({block});
  ghosts.grow_to(32);
  for (std::uint64_t block = 1000; block < 1032; ++block) ghosts.remember({block});
  // Of the older ones, those that are left are the newer ones of each bucket: no more than fit
  // beside the 32 that came since.
  std::uint64_t left = 0;
  for (std::uint64_t block = 0; block < 16; ++block) left += ghosts.take({block}) ? 1 : 0;
  std::uint64_t newer = 0;
  for (std::uint64_t block = 1000; block < 1032; ++block) newer += ghosts.take({block}) ? 1 : 0;
  EXPECT_LE(left + newer, 32U);
  EXPECT_GE(newer, 24U);
}

TEST(GhostTable, RemembersAboutAsManyOfTheLastAsItHasRoomFor) {
  constexpr std::uint64_t kGhosts = 1U << 16U;
  GhostTable ghosts;
  ghosts.grow_to(kGhosts);
  for (std::uint64_t block = 0; block < 3 * kGhosts; ++block) ghosts.remember({block});
  std::uint64_t of_the_last_half = 0;
  for (std::uint64_t age = 1; age <= kGhosts / 2; ++age) {
    of_the_last_half += ghosts.take({3 * kGhosts - age}) ? 1 : 0;
  }
  EXPECT_GE(of_the_last_half, kGhosts / 2 * 98 / 100);
  std::uint64_t of_those_before = 0;
  for (std::uint64_t block = 0; block < kGhosts; ++block) {
    of_those_before += ghosts.take({block}) ? 1 : 0;
  }
  EXPECT_LE(of_those_before, kGhosts / 100);
}

TEST(GhostTable, DoesNotTakeStrangersForGhosts) {
  GhostTable ghosts;
  ghosts.grow_to(1U << 16U);
  for (std::uint64_t block = 0; block < 1U << 16U; ++block) ghosts.remember({block});
  std::uint64_t mistaken = 0;
  for (std::uint64_t block = 1U << 20U; block < 2U << 20U; ++block) {
    mistaken += ghosts.take({block}) ? 1 : 0;
  }
  EXPECT_LE(mistaken, 100U);  // 16 expected: 2^20 lookups among 2^16 of 2^32
}

}  // namespace
}  // namespace nbdstack
