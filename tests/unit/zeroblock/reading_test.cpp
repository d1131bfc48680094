// Reads, extents and prefetches, one after the other; and what is offered to the layer above.
#include <gmock/gmock.h>

#include <limits>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ZeroBlockReadingTest : public ZeroBlockTest {};

TEST_F(ZeroBlockReadingTest, KnownZerosAreReadWithoutTheLayerBelow) {
  make_zeros(blocks(2, 3));
  EXPECT_EQ(read({2 * kBlock + 5, 2 * kBlock}), Bytes(2 * kBlock));
  EXPECT_THAT(below.calls(), IsEmpty());
}

TEST_F(ZeroBlockReadingTest, OnlyTheRestIsReadAndInOneRequest) {
  make_zeros(blocks(2));
  make_zeros(blocks(4));
  make_zeros(blocks(6));
  Bytes expected(5 * kBlock, std::byte{7});
  for (const unsigned block : {0, 2, 4}) {
    std::fill_n(expected.begin() + block * kBlock, kBlock, std::byte{0});
  }
  EXPECT_EQ(read(blocks(2, 5)), expected);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::pread, blocks(3, 3)}));
}

TEST_F(ZeroBlockReadingTest, BlocksOfZerosThatAreReadAreKnown) {
  below.fill(blocks(2), std::byte{0});
  below.fill({3 * kBlock, kBlock / 2}, std::byte{0});
  static_cast<void>(read({kBlock + 5, 3 * kBlock}));
  EXPECT_THAT(known({0, kDiskSize}), ElementsAre(Extent{blocks(2), kStoredZeros}));
}

TEST_F(ZeroBlockReadingTest, AFailedReadTellsNothing) {
  below.fill(blocks(2), std::byte{0});
  fail_next(Op::pread);
  EXPECT_EQ(error_of([&] { static_cast<void>(read(blocks(2))); }), EIO);
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
}

TEST(ZeroBlockLongReadTest, ZerosInsideAreLeftOutWhereTheyAreLong) {
  constexpr std::uint64_t kLong = ZeroBlockLayer::kLongZeros;
  FakeLayer below(4 * kLong);
  below.fill({0, 4 * kLong}, std::byte{7});
  const auto shared = std::make_shared<ZeroBlockState>(below.traits(), kBlock);
  ZeroBlockLayer layer(below, shared);
  layer.zero(kLong / 2, kLong, {.may_trim = true});
  layer.zero(kLong / 2, kLong + kLong / 2, {.may_trim = false});
  layer.zero(kLong - kBlock, 5 * kLong / 2, {.may_trim = true});
  Bytes data(4 * kLong);
  below.forget_calls();
  layer.pread(data, 0);
  EXPECT_THAT(below.calls(),
              ElementsAre(Call{Op::pread, {0, kLong}}, Call{Op::pread, {2 * kLong, 2 * kLong}}));
  EXPECT_EQ(data, below.content());
}

// --- Extents ---

TEST_F(ZeroBlockReadingTest, WhatIsKnownIsAnsweredWithoutTheLayerBelow) {
  make_zeros(blocks(2));
  make_zeros(blocks(3), false);
  write(pattern(kBlock, 1), 4 * kBlock);
  below.forget_calls();
  EXPECT_THAT(extents({2 * kBlock + 5, 8 * kBlock}),
              ElementsAre(Extent{{2 * kBlock + 5, kBlock - 5}, kHole},
                          Extent{blocks(3), kStoredZeros}, Extent{blocks(4), kData}));
  EXPECT_THAT(extents(blocks(2, 3), true), ElementsAre(Extent{blocks(2), kHole}));
  EXPECT_THAT(below.calls(), IsEmpty());
}

TEST_F(ZeroBlockReadingTest, WhatIsNotKnownIsAskedOnceAndLearnt) {
  make_zeros(blocks(4));
  ExtentList told;
  told.append(blocks(0, 3), kData);
  told.append({3 * kBlock, kDiskSize - 3 * kBlock}, kHole);
  below.set_extents(told);
  write(pattern(kBlock, 1), 8 * kBlock);
  below.forget_calls();
  const Range range = blocks(2, 8);
  EXPECT_THAT(extents(range), ElementsAre(Extent{blocks(2), kData}, Extent{blocks(3, 5), kHole},
                                          Extent{blocks(8), kData}, Extent{blocks(9), kHole}));
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::extents, range}));
  static_cast<void>(extents(range));
  EXPECT_EQ(below.calls().size(), 1) << "asked again what was learnt";
}

TEST_F(ZeroBlockReadingTest, OneExtentIsOneWhereTheLayerBelowTellsMore) {
  make_zeros(blocks(4));
  EXPECT_THAT(extents(blocks(2, 8), true), ElementsAre(Extent{blocks(2, 2), kData}));
}

TEST_F(ZeroBlockReadingTest, AFailedQuestionIsAnErrorAndTellsNothing) {
  fail_next(Op::extents);
  EXPECT_EQ(error_of([&] { static_cast<void>(extents(blocks(0, 4))); }), EIO);
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
}

TEST_F(ZeroBlockReadingTest, ALayerBelowThatKnowsNoExtentsIsNotAsked) {
  below.change_traits().can_extents = false;
  open();
  make_zeros(blocks(4));
  EXPECT_TRUE(layer->traits().can_extents);
  EXPECT_THAT(
      extents(blocks(2, 4)),
      ElementsAre(Extent{blocks(2, 2), kData}, Extent{blocks(4), kHole}, Extent{blocks(5), kData}));
  EXPECT_THAT(below.calls(), IsEmpty());
}

// --- Prefetching ---

TEST_F(ZeroBlockReadingTest, KnownZerosAreNotPrefetched) {
  make_zeros(blocks(2, 2));
  layer->cache(2 * kBlock, 2 * kBlock);
  EXPECT_THAT(below.calls(), IsEmpty());
  layer->cache(4 * kBlock, kBlock + 5);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::cache, {kBlock + 5, 4 * kBlock}}));
  layer->cache(4 * kBlock, 3 * kBlock + 5);
  EXPECT_EQ(below.calls().back(), (Call{Op::cache, {4 * kBlock, 3 * kBlock + 5}}));
}

// --- What is offered ---

TEST_F(ZeroBlockReadingTest, StatesABlockSizeWhereTheLayerBelowStatesNone) {
  EXPECT_EQ(layer->traits().minimum_block_size, 1);
  EXPECT_EQ(layer->traits().preferred_block_size, kBlock);
  EXPECT_EQ(layer->traits().maximum_block_size, std::numeric_limits<std::uint32_t>::max());
}

TEST_F(ZeroBlockReadingTest, OffersNoChangesOfADiskThatIsReadOnly) {
  LayerTraits& traits = below.change_traits();
  traits.can_write = traits.can_trim = false;
  traits.zero = traits.fua = Support::none;
  open();
  EXPECT_FALSE(layer->traits().can_write);
  EXPECT_EQ(layer->traits().zero, Support::none);
  EXPECT_FALSE(layer->traits().can_fast_zero);
  below.fill(blocks(2), std::byte{0});
  static_cast<void>(read(blocks(2)));
  EXPECT_TRUE(knows_zeros(blocks(2)));
}

}  // namespace
}  // namespace nbdstack::testing
