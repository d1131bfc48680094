// The map alone: what it answers, what a change leaves, what may be learnt and what may not.
#include "filters/zeroblock/zero_map.hpp"

#include <gmock/gmock.h>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ZeroMapTest : public ::testing::Test {
 protected:
  // A change from beginning to end.
  void change(const Range& range, std::optional<ExtentType> type) {
    auto begun = map.begin_change(range, range);
    ASSERT_TRUE(begun.has_value());
    const std::vector<ZeroMap::Content> contents{{range, type}};
    begun->commit(contents);
  }
  void learn(const Range& range, ExtentType type) {
    auto watch = map.query(range);
    const std::vector<Extent> found{{range, type}};
    map.learn(watch, found);
  }
  [[nodiscard]] std::vector<Extent> all() const { return map.known({0, kDiskSize}); }

  ZeroMap map{BlockGeometry(kDiskSize, kBlock)};
};

TEST_F(ZeroMapTest, KnowsNothingAtFirst) {
  EXPECT_THAT(all(), IsEmpty());
  EXPECT_FALSE(map.is_zeros(blocks(0)));
}

TEST_F(ZeroMapTest, AnswersAreClippedToWhatIsAsked) {
  change(blocks(2, 2), kHole);
  const Range asked{2 * kBlock + 10, 100};
  EXPECT_THAT(map.known(asked), ElementsAre(Extent{asked, kHole}));
  EXPECT_TRUE(map.is_zeros(asked));
  EXPECT_FALSE(map.is_zeros({asked.offset, 2 * kBlock}));
}

TEST_F(ZeroMapTest, ZerosOfBothKindsAreZerosAndOnlyOneKindIsAHole) {
  change(blocks(2), kHole);
  change(blocks(3), kStoredZeros);
  change(blocks(4), kData);
  EXPECT_TRUE(map.is_zeros(blocks(2, 2)));
  EXPECT_FALSE(map.is_hole(blocks(2, 2)));
  EXPECT_TRUE(map.is_hole(blocks(2)));
  EXPECT_FALSE(map.is_zeros(blocks(3, 2)));
  EXPECT_THAT(map.zeros({0, kDiskSize}),
              ElementsAre(Extent{blocks(2), kHole}, Extent{blocks(3), kStoredZeros}));
}

TEST_F(ZeroMapTest, AChangeUnderWayTakesZerosAwayAndTellsThem) {
  change(blocks(2, 3), kHole);
  {
    const auto begun = map.begin_change(blocks(3), blocks(3));
    ASSERT_TRUE(begun.has_value());
    EXPECT_THAT(begun->zeros_before(), ElementsAre(Extent{blocks(3), kHole}));
    EXPECT_FALSE(map.is_zeros(blocks(3)));
    EXPECT_TRUE(map.is_zeros(blocks(2)));
  }
  EXPECT_THAT(map.known(blocks(3)), IsEmpty()) << "it failed";
}

TEST_F(ZeroMapTest, AChangeThatFailsLeavesUnknownWhatWasData) {
  change(blocks(2), kData);
  { const auto begun = map.begin_change(blocks(2), blocks(2)); }
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(ZeroMapTest, AChangeThatNamesNoContentLeavesData) {
  change(blocks(2), kData);
  map.begin_change(blocks(2), {2 * kBlock, 10})->commit({});
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(2), kData}));
}

TEST_F(ZeroMapTest, AChangeOfZerosThatAreNotOwnedWholeIsRefusedAndChangesNothing) {
  change(blocks(2), kHole);
  EXPECT_FALSE(map.begin_change(blocks(1, 2), {kBlock, kBlock + 10}).has_value());
  EXPECT_TRUE(map.is_zeros(blocks(2)));
  learn(blocks(1), kHole);  // no change is under way there
  EXPECT_TRUE(map.is_zeros(blocks(1)));
}

// --- Learning ---

TEST_F(ZeroMapTest, LearnsWholeBlocksOnly) {
  learn({kBlock + 1, 3 * kBlock}, kHole);
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(2, 2), kHole}));
}

TEST_F(ZeroMapTest, LearnsTheShortLastBlock) {
  learn({kBlocks * kBlock, kTail}, kHole);
  EXPECT_TRUE(map.is_zeros({kDiskSize - 1, 1}));
}

TEST_F(ZeroMapTest, LearnsNothingOfTwoKindsInOneBlock) {
  auto watch = map.query(blocks(0, 2));
  const std::vector<Extent> found{{{0, kBlock + 10}, kHole}, {{kBlock + 10, 10}, kData}};
  map.learn(watch, found);
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(0), kHole}));
}

TEST_F(ZeroMapTest, LearnsNothingOfHolesThatDoNotReadAsZeros) {
  learn(blocks(2), {.hole = true, .zero = false});
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(ZeroMapTest, LearnsNothingBehindWhatIsWatched) {
  auto watch = map.query(blocks(1, 2));
  const std::vector<Extent> found{{blocks(0, 8), kHole}};
  map.learn(watch, found);
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(1, 2), kHole}));
}

TEST_F(ZeroMapTest, ZerosReplaceDataAndDataDoesNotReplaceZeros) {
  change(blocks(2), kData);
  change(blocks(3), kHole);
  learn(blocks(2), kStoredZeros);
  learn(blocks(3), kData);
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(2), kStoredZeros}, Extent{blocks(3), kHole}));
}

TEST_F(ZeroMapTest, AnAnswerDoesNotBringBackWhatAChangeHasTakenMeanwhile) {
  auto watch = map.query(blocks(0, 8));
  change(blocks(2), kData);
  change(blocks(3), std::nullopt);
  { const auto failed = map.begin_change(blocks(4), blocks(4)); }
  const auto under_way = map.begin_change(blocks(5), blocks(5));
  const std::vector<Extent> found{{blocks(0, 8), kHole}};
  map.learn(watch, found);
  EXPECT_THAT(all(), ElementsAre(Extent{blocks(0, 2), kHole}, Extent{blocks(2), kData},
                                 Extent{blocks(6, 2), kHole}));
}

TEST_F(ZeroMapTest, ALaterAnswerIsBelievedAgain) {
  change(blocks(3), std::nullopt);
  learn(blocks(3), kHole);
  EXPECT_TRUE(map.is_zeros(blocks(3)));
}

TEST_F(ZeroMapTest, WhereConnectionsDoNotKnowOfEachOtherWhatWasChangedIsNeverLearnt) {
  ZeroMap own(BlockGeometry(kDiskSize, kBlock), ZeroMap::View::own_connection);
  { const auto failed = own.begin_change(blocks(2), blocks(2)); }
  auto watch = own.query(blocks(0, 4));
  const std::vector<Extent> found{{blocks(0, 4), kHole}};
  own.learn(watch, found);
  EXPECT_THAT(own.known({0, kDiskSize}),
              ElementsAre(Extent{blocks(0, 2), kHole}, Extent{blocks(3), kHole}));
}

// --- Bounds ---

TEST_F(ZeroMapTest, AFullMapForgets) {
  ZeroMap small(BlockGeometry(1 << 30, kBlock), ZeroMap::View::own_connection, 8);
  for (std::uint64_t block = 0; block < 100; ++block) {
    const Range range{block * 2 * kBlock, kBlock};
    auto begun = small.begin_change(range, range);
    const std::vector<ZeroMap::Content> contents{{range, kHole}};
    begun->commit(contents);
    EXPECT_TRUE(small.is_zeros(range)) << "the last one is known";
    EXPECT_LE(small.runs(), 8);
  }
  auto watch = small.query({0, 1 << 30});
  const std::vector<Extent> found{{{0, 1 << 30}, kHole}};
  small.learn(watch, found);
  EXPECT_FALSE(small.is_zeros({1 << 29, kBlock})) << "too much was changed to tell what";
}

TEST_F(ZeroMapTest, AFullMapForgetsWhatIsLearnt) {
  ZeroMap small(BlockGeometry(1 << 30, kBlock), ZeroMap::View::all_connections, 8);
  std::vector<Extent> found;
  for (std::uint64_t block = 0; block < 100; ++block) {
    found.push_back({{block * 2 * kBlock, kBlock}, kHole});
  }
  auto watch = small.query({0, 1 << 30});
  small.learn(watch, found);
  EXPECT_EQ(small.runs(), 8);
}

TEST_F(ZeroMapTest, ALargestDiskIsOneRun) {
  constexpr std::uint64_t kWholeSpace = (1ULL << 63U) - 1;
  ZeroMap large(BlockGeometry(kWholeSpace, kBlock));
  auto watch = large.query({0, kWholeSpace});
  const std::vector<Extent> found{{{0, kWholeSpace}, kHole}};
  large.learn(watch, found);
  EXPECT_TRUE(large.is_zeros({kWholeSpace - 1, 1}));
  const Range range{kWholeSpace - 10, 10};
  const Range last{(kWholeSpace - 1) / kBlock * kBlock, (kWholeSpace - 1) % kBlock + 1};
  { const auto failed = large.begin_change(last, last); }
  EXPECT_FALSE(large.is_zeros(range));
  EXPECT_TRUE(large.is_zeros({last.offset - 1, 1}));
  EXPECT_EQ(large.runs(), 1);
}

}  // namespace
}  // namespace nbdstack::testing
