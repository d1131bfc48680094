// Which requests for missing blocks are shared, widened and stored.
#include "filters/cache/state/fetches.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {
namespace {

class CacheFetches : public ::testing::Test {
 protected:
  static constexpr std::uint32_t kBlock = 64U << 10U;

  std::shared_ptr<Fetch> start(std::uint64_t block, bool store = true, bool may_share = true) {
    return fetches.join_or_start({block}, store, may_share, started);
  }
  static Range range_of(const Fetch& fetch) { return {fetch.offset, fetch.length}; }
  static Range blocks(std::uint64_t first, std::uint64_t count) {
    return {first * kBlock, count * kBlock};
  }

  const BlockGeometry geometry{16 * kBlock, kBlock};
  Fetches fetches{geometry};
  Fetches::Started started;
};

TEST_F(CacheFetches, NeighboursInAscendingOrderAreOneRequest) {
  start(3);
  start(4);
  start(6);
  start(5);
  ASSERT_EQ(started.size(), 3U);
  EXPECT_EQ(range_of(*started[0]), blocks(3, 2));
  EXPECT_EQ(range_of(*started[1]), blocks(6, 1));
  EXPECT_EQ(range_of(*started[2]), blocks(5, 1));
}

TEST_F(CacheFetches, OneThatIsUnderWayIsJoinedAndStoredIfSomebodyWantsIt) {
  const auto fetch = start(3, false);
  EXPECT_FALSE(fetches.may_store(*fetch, {3}));
  Fetches::Started others;
  EXPECT_EQ(fetches.join_or_start({3}, true, true, others), fetch);
  EXPECT_TRUE(others.empty());
  EXPECT_TRUE(fetches.may_store(*fetch, {3}));
}

TEST_F(CacheFetches, OneThatMayNotBeSharedIsItsCallersOwn) {
  const auto fetch = start(3, true, false);
  EXPECT_EQ(start(3, true, false), fetch);  // another part of the block
  EXPECT_EQ(fetches.find({3}), nullptr);
  EXPECT_FALSE(fetches.may_store(*fetch, {3}));
}

TEST_F(CacheFetches, WhatIsObsoleteIsNeitherJoinedNorStored) {
  const auto fetch = start(3);
  start(4);
  fetches.supersede(BlockNumber{3});
  EXPECT_EQ(fetches.find({3}), nullptr);
  EXPECT_FALSE(fetches.may_store(*fetch, {3}));
  EXPECT_TRUE(fetches.may_store(*fetch, {4}));
  fetches.supersede(Range{4 * kBlock + 100, 1});
  EXPECT_FALSE(fetches.may_store(*fetch, {4}));
}

TEST_F(CacheFetches, TheEndOfAFetchLeavesANewerOneAlone) {
  const auto fetch = start(3);
  fetches.supersede(BlockNumber{3});
  Fetches::Started newer;
  const auto second = fetches.join_or_start({3}, true, true, newer);
  fetches.end(*fetch, EIO);
  EXPECT_TRUE(fetch->over);
  EXPECT_EQ(fetch->error_code, EIO);
  EXPECT_EQ(fetches.find({3}), second);
  fetches.end(*second, 0);
  EXPECT_EQ(fetches.find({3}), nullptr);
}

TEST_F(CacheFetches, OneThatIsDoneMayBeJoinedUntilItEnds) {
  const auto fetch = start(3);
  Fetches::done(*fetch);
  EXPECT_EQ(fetches.find({3}), fetch);
  Mutex mutex;
  {
    const MutexLock lock(mutex);
    fetches.wait_for(*fetch, mutex);  // returns at once
  }
  EXPECT_EQ(fetches.waiting(), 0U);
}

TEST_F(CacheFetches, IsWidenedWithinItsGroupUpToWhatIsNotWanted) {
  start(5);
  fetches.widen(started[0], 4 * kBlock, [](BlockNumber block) { return block.value != 7; });
  EXPECT_EQ(range_of(*started[0]), blocks(4, 3));
  EXPECT_TRUE(started[0]->widened);
  EXPECT_EQ(fetches.find({4}), started[0]);
  EXPECT_TRUE(fetches.may_store(*started[0], {6}));
}

TEST_F(CacheFetches, IsNotWidenedIntoAnother) {
  start(4);
  Fetches::Started others;
  const auto other = fetches.join_or_start({5}, true, true, others);
  fetches.widen(started[0], 4 * kBlock, [](BlockNumber) { return true; });
  EXPECT_EQ(range_of(*started[0]), blocks(4, 1));
  EXPECT_FALSE(started[0]->widened);
  EXPECT_EQ(fetches.find({5}), other);
}

TEST_F(CacheFetches, AFetchEndsOnce) {
  const auto fetch = start(3);
  fetches.end(*fetch, 0);
  EXPECT_BROKEN(fetches.end(*fetch, EIO),
                "!fetch.over; fetch.offset, fetch.length = 196608, 65536");
}

}  // namespace
}  // namespace nbdstack::testing
