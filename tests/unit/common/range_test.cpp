#include "common/block/range.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

TEST(Range, OverlapsAndIntersectsAsHalfOpenRanges) {
  const Range range{10, 10};
  EXPECT_FALSE(range.overlaps({0, 10}));
  EXPECT_FALSE(range.overlaps({20, 1}));
  EXPECT_TRUE(range.overlaps({19, 1}));
  EXPECT_EQ(range.intersection({5, 10}), (Range{10, 5}));
  EXPECT_TRUE(range.intersection({30, 5}).empty());
}

TEST(BlockGeometry, SplitsARequestAtBlockBounds) {
  const BlockGeometry geometry(100'000, 4096);
  const auto pieces = geometry.split({4000, 5000});
  ASSERT_EQ(pieces.size(), 3U);
  EXPECT_EQ(pieces[0].block, (BlockNumber{0}));
  EXPECT_EQ(pieces[0].offset_in_block, 4000U);
  EXPECT_EQ(pieces[0].length, 96U);
  EXPECT_TRUE(geometry.is_whole(pieces[1]));
  EXPECT_EQ(pieces[1].offset_in_request, 96U);
  EXPECT_EQ(pieces[2].length, 5000U - 96 - 4096);
}

TEST(BlockGeometry, TakesTheShortLastBlockAsWhole) {
  const BlockGeometry geometry(10'000, 4096);
  EXPECT_EQ(geometry.block_count(), 3U);
  EXPECT_EQ(geometry.length_of({2}), 10'000U - 8192);
  EXPECT_TRUE(geometry.is_whole(geometry.split({8192, 10'000 - 8192}).front()));
}

TEST(BlockGeometry, ReachesTheLargestDiskThatNbdkitServes) {
  const std::uint64_t size = (1ULL << 63U) - 1;
  const BlockGeometry geometry(size, 4096);
  const auto pieces = geometry.split({size - 10, 10});
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(geometry.range_of(pieces[0].block).end(), size);
}

}  // namespace
}  // namespace nbdstack
