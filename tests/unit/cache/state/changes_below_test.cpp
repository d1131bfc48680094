// Which changes below keep others away, and from where to where.
#include "filters/cache/state/changes_below.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

class CacheChangesBelow : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 64U << 10U;
  static constexpr std::uint64_t kDisk = 10 * kBlock + 4096;

  static constexpr Range blocks(std::uint64_t first, std::uint64_t count = 1) {
    return {first * kBlock, count * kBlock};
  }

  ChangesBelow changes{kDisk, kBlock};
};

TEST_F(CacheChangesBelow, AWriteBackIsBusyWhereItIsRegisteredAndNowhereElse) {
  ChangesBelow::Place place;
  changes.begin_write_back(place, blocks(2, 2));
  EXPECT_TRUE(place.is_registered());
  EXPECT_FALSE(changes.is_busy(blocks(1)));
  EXPECT_TRUE(changes.is_busy(blocks(2)));
  EXPECT_TRUE(changes.is_written_back({4 * kBlock - 1, 1}));
  EXPECT_FALSE(changes.is_bypassed(blocks(3)));
  EXPECT_FALSE(changes.is_busy(blocks(4)));
  changes.end_write_back(place);
  EXPECT_FALSE(place.is_registered());
  EXPECT_FALSE(changes.is_busy(blocks(2, 2)));
}

TEST_F(CacheChangesBelow, ABypassIsBusyAndNoWriteBack) {
  ChangesBelow::Place place;
  changes.begin_bypass(place, {100, 1});
  EXPECT_TRUE(changes.is_busy(blocks(0)));
  EXPECT_TRUE(changes.is_bypassed({0, 101}));
  EXPECT_FALSE(changes.is_bypassed({0, 100}));
  EXPECT_FALSE(changes.is_written_back(blocks(0)));
  changes.end_bypass(place);
  EXPECT_FALSE(changes.is_busy(blocks(0)));
}

TEST_F(CacheChangesBelow, WhatWasNeverRegisteredMayEnd) {
  ChangesBelow::Place place;
  changes.end_bypass(place);
  changes.begin_bypass(place, blocks(0));  // and may be registered again
  changes.end_bypass(place);
  changes.end_bypass(place);
  EXPECT_FALSE(changes.is_busy(blocks(0)));
}

TEST_F(CacheChangesBelow, EachEndsByItself) {
  ChangesBelow::Place first;
  ChangesBelow::Place second;
  changes.begin_write_back(first, blocks(0));
  changes.begin_write_back(second, blocks(5));
  changes.end_write_back(first);
  EXPECT_FALSE(changes.is_busy(blocks(0)));
  EXPECT_TRUE(changes.is_busy(blocks(5)));
}

TEST_F(CacheChangesBelow, AUnitIsABlockOrAPreferredBlockBelowWhicheverIsLarger) {
  EXPECT_EQ(changes.unit_covering(blocks(3), 0), blocks(3));
  EXPECT_EQ(changes.unit_covering(blocks(3), 4096), blocks(3));
  EXPECT_EQ(changes.unit_covering(blocks(3), 4 * kBlock), blocks(0, 4));
  EXPECT_EQ(changes.unit_covering(blocks(3, 2), 4 * kBlock), blocks(0, 8));
  EXPECT_EQ(changes.unit_covering(blocks(3), 3 * kBlock), blocks(0, 4));  // a power of two
  EXPECT_EQ(changes.unit_covering(blocks(8), 4 * kBlock), (Range{8 * kBlock, 2 * kBlock + 4096}));
}

TEST_F(CacheChangesBelow, AUnitIsBusyWhereAnyOfItIs) {
  ChangesBelow::Place place;
  changes.begin_write_back(place, blocks(0));
  EXPECT_FALSE(changes.is_unit_busy(blocks(3), kBlock));
  EXPECT_TRUE(changes.is_unit_busy(blocks(3), 4 * kBlock));
}

TEST_F(CacheChangesBelow, ARegistrationOverAnExcludedOneIsABrokenInvariant) {
  ChangesBelow::Place first;
  ChangesBelow::Place second;
  changes.begin_write_back(first, blocks(2, 2));
  EXPECT_BROKEN(changes.begin_write_back(second, blocks(3)), "!is_busy\\(range\\)");
  EXPECT_BROKEN(changes.begin_write_back(first, blocks(7)), "!place.is_registered\\(\\)");
  changes.begin_bypass(second, blocks(5));
  ChangesBelow::Place third;
  EXPECT_BROKEN(changes.begin_write_back(third, blocks(5)), "!is_busy\\(range\\)");
  EXPECT_BROKEN(changes.begin_bypass(third, {5 * kBlock + 100, 1}), "!is_bypassed\\(range\\)");
  changes.begin_bypass(third, blocks(2));  // which waits, registered, for the write-back
}

}  // namespace
}  // namespace nbdstack::testing
