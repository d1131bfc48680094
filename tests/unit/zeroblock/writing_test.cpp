// Writes, one after the other: what reaches the layer below, and what is known afterwards.
#include <gmock/gmock.h>

#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {

NBDSTACK_OPEN_MEMBER(WriteRunOfZeroBlock, &ZeroBlockLayer::write_run);
NBDSTACK_OPEN_MEMBER(ZeroBelowOfZeroBlock, &ZeroBlockLayer::zero_below);

namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ZeroBlockWritingTest : public ZeroBlockTest {};

TEST_F(ZeroBlockWritingTest, ABlockOfZerosBecomesAZeroAndThenNothing) {
  write(Bytes(kBlock), 2 * kBlock);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(2)}));
  below.forget_calls();
  write(Bytes(kBlock), 2 * kBlock);
  write(Bytes(10), 2 * kBlock + 30);
  EXPECT_THAT(below.calls(), IsEmpty());
  EXPECT_EQ(below.content(blocks(2)), Bytes(kBlock));
}

TEST_F(ZeroBlockWritingTest, APartOfAKnownZeroBlockIsOneWholeWriteAndNoRead) {
  make_zeros(blocks(2));
  const Bytes part = pattern(100, 1);
  write(part, 2 * kBlock + 50);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::pwrite, blocks(2)}));
  Bytes expected(kBlock);
  std::copy(part.begin(), part.end(), expected.begin() + 50);
  EXPECT_EQ(below.content(blocks(2)), expected);
  EXPECT_THAT(known(blocks(2)), ElementsAre(Extent{blocks(2), kData}));
  write(part, 2 * kBlock + 500);
  EXPECT_EQ(below.calls().back(), (Call{Op::pwrite, {2 * kBlock + 500, 100}}));
}

TEST_F(ZeroBlockWritingTest, AWidenedWriteIsCutToWhatTheLayerBelowTakes) {
  below.change_traits().minimum_block_size = 1;
  below.change_traits().preferred_block_size = kBlock;
  below.change_traits().maximum_block_size = 2 * kBlock;
  open();
  make_zeros(blocks(2, 3));
  write(pattern(2 * kBlock, 1), 2 * kBlock + 50);
  EXPECT_THAT(below.calls(),
              ElementsAre(Call{Op::pwrite, blocks(2, 2)}, Call{Op::pwrite, blocks(4)}));
}

TEST_F(ZeroBlockWritingTest, AnUnknownBlockIsWrittenAsItIsAndStaysUnknown) {
  write(Bytes(100), 2 * kBlock + 50);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::pwrite, {2 * kBlock + 50, 100}}));
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

TEST_F(ZeroBlockWritingTest, ALongWriteIsAsManyRequestsAsItHasRuns) {
  Bytes data = pattern(6 * kBlock, 1);
  std::fill_n(data.begin() + kBlock, 2 * kBlock, std::byte{0});
  write(data, kBlock);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::pwrite, blocks(1)}, Call{Op::zero, blocks(2, 2)},
                                         Call{Op::pwrite, blocks(4, 3)}));
  EXPECT_EQ(below.content(blocks(1, 6)), data);
}

TEST_F(ZeroBlockWritingTest, FuaIsPassedWithEveryPart) {
  Bytes data = pattern(2 * kBlock, 1);
  std::fill_n(data.begin(), kBlock, std::byte{0});
  write(data, kBlock, Durability::fua);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(1), Durability::fua},
                                         Call{Op::pwrite, blocks(2), Durability::fua}));
}

TEST_F(ZeroBlockWritingTest, KnownZerosWithFuaAreSentAgain) {
  make_zeros(blocks(2));  // acknowledged, and perhaps not durable
  write(Bytes(kBlock), 2 * kBlock, Durability::fua);
  write(Bytes(10), 2 * kBlock, Durability::fua);
  const Call again{Op::zero, blocks(2), Durability::fua};
  EXPECT_THAT(below.calls(), ElementsAre(again, again));
  EXPECT_TRUE(knows_zeros(blocks(2)));
}

TEST_F(ZeroBlockWritingTest, NothingIsDroppedWhereAFlushIsForOneConnectionOnly) {
  below.change_traits().can_multi_conn = false;
  open();
  make_zeros(blocks(2));
  write(Bytes(kBlock), 2 * kBlock);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(2)}));
}

TEST_F(ZeroBlockWritingTest, FlushesPass) {
  make_zeros(blocks(2));
  write(Bytes(kBlock), 2 * kBlock);
  layer->flush();
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::flush, {}}));
}

TEST_F(ZeroBlockWritingTest, AFailedWriteLeavesItsBlocksUnknown) {
  make_zeros(blocks(1, 4));
  write(pattern(kBlock, 1), 2 * kBlock);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write(pattern(2 * kBlock, 2), kBlock + 10); }), EIO);
  EXPECT_THAT(known(blocks(1, 4)), ElementsAre(Extent{blocks(4), kHole}));
  EXPECT_EQ(read(blocks(1)), below.content(blocks(1)));
}

TEST_F(ZeroBlockWritingTest, AFailedZeroOfAWriteLeavesItsBlocksUnknown) {
  fail_next(Op::zero, ENOSPC);
  EXPECT_EQ(error_of([&] { write(Bytes(kBlock), kBlock); }), ENOSPC);
  EXPECT_FALSE(knows_zeros(blocks(1)));
  EXPECT_EQ(read(blocks(1)), Bytes(kBlock, std::byte{7}));
}

// --- Layers below that have no zeros of their own ---

class ZeroBlockWithoutZerosTest : public ZeroBlockTest,
                                  public ::testing::WithParamInterface<Support> {
 protected:
  void SetUp() override {
    below.change_traits().zero = GetParam();
    ZeroBlockTest::SetUp();
  }
};

TEST_P(ZeroBlockWithoutZerosTest, ZerosAreWrittenOnceAndThenKnown) {
  write(Bytes(kBlock), 2 * kBlock);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::pwrite, blocks(2)}));
  write(Bytes(kBlock), 2 * kBlock);
  EXPECT_EQ(read(blocks(2)), Bytes(kBlock));
  EXPECT_EQ(below.calls().size(), 1);
  EXPECT_THAT(known(blocks(2)), ElementsAre(Extent{blocks(2), kStoredZeros}));
}

TEST_P(ZeroBlockWithoutZerosTest, OfferWhatTheLayerBelowOffers) {
  const bool has_zeros = GetParam() != Support::none;
  EXPECT_EQ(layer->traits().zero, has_zeros ? Support::native : Support::none);
  EXPECT_EQ(layer->traits().can_fast_zero, has_zeros);
}

INSTANTIATE_TEST_SUITE_P(ZeroBlock, ZeroBlockWithoutZerosTest,
                         ::testing::Values(Support::none, Support::emulated));

TEST_F(ZeroBlockWritingTest, ARequestBehindTheEndIsABrokenInvariant) {
  EXPECT_BROKEN(read({kDiskSize - 1, 2}), "range.length <= size_bytes - range.offset");
  EXPECT_BROKEN(write(Bytes(2), kDiskSize - 1), "range.length <=");
  EXPECT_BROKEN(zero({kDiskSize, kBlock}), "range.length <=");
  EXPECT_BROKEN(trim({kDiskSize + 1, kBlock}), "range.offset <=");
  EXPECT_BROKEN(extents({kDiskSize, 1}), "range.length <=");
  EXPECT_BROKEN(layer->cache(kBlock, kDiskSize), "range.length <=");
}

TEST_F(ZeroBlockWritingTest, ARequestBelowBehindTheEndIsABrokenInvariant) {
  const auto write_run = private_member(WriteRunOfZeroBlock());
  EXPECT_BROKEN(
      (layer.get()->*write_run)({kDiskSize, 1}, Bytes(1), kDiskSize, Durability::on_flush),
      "range.length <=");
  const auto zero_below = private_member(ZeroBelowOfZeroBlock());
  EXPECT_BROKEN((layer.get()->*zero_below)({kDiskSize, 1}, {}), "range.length <=");
}

}  // namespace
}  // namespace nbdstack::testing
