// Zero and trim requests.
#include <gmock/gmock.h>

#include "tests/unit/zeroblock/zeroblock_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ZeroBlockZeroTest : public ZeroBlockTest {};

TEST_F(ZeroBlockZeroTest, ZerosPassOnceAndAreKnown) {
  zero(blocks(2, 3));
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(2, 3)}));
  EXPECT_THAT(known({0, kDiskSize}), ElementsAre(Extent{blocks(2, 3), kHole}));
  zero({2 * kBlock + 5, kBlock});
  EXPECT_EQ(below.calls().size(), 1);
}

TEST_F(ZeroBlockZeroTest, ZerosThatMayNotBeAHoleAreNone) {
  zero(blocks(2), {.may_trim = false});
  EXPECT_THAT(known(blocks(2)), ElementsAre(Extent{blocks(2), kStoredZeros}));
}

TEST_F(ZeroBlockZeroTest, ZerosThatMayNotBeAHoleFillOne) {
  make_zeros(blocks(2, 2), true);
  make_zeros(blocks(4), false);
  zero(blocks(2, 3), {.may_trim = false});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(2, 2)}));
  EXPECT_THAT(known(blocks(2, 3)), ElementsAre(Extent{blocks(2, 3), kStoredZeros}));
  below.forget_calls();
  zero(blocks(2, 3), {.may_trim = false});
  EXPECT_THAT(below.calls(), IsEmpty());
}

TEST_F(ZeroBlockZeroTest, PartsOfBlocksAtTheEndsPassAndStayUnknown) {
  const Range range{2 * kBlock + 5, 3 * kBlock};
  zero(range);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, range}));
  EXPECT_THAT(known({0, kDiskSize}), ElementsAre(Extent{blocks(3, 2), kHole}));
}

TEST_F(ZeroBlockZeroTest, KnownZerosAtTheEndsAreNotSentAgain) {
  make_zeros(blocks(2), false);
  make_zeros(blocks(5));
  zero({2 * kBlock + 5, 3 * kBlock + 100});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(3, 2)}));
  EXPECT_THAT(known({0, kDiskSize}),
              ElementsAre(Extent{blocks(2), kStoredZeros}, Extent{blocks(3, 3), kHole}));
}

TEST_F(ZeroBlockZeroTest, FuaIsNeverDropped) {
  make_zeros(blocks(2, 2));
  zero({2 * kBlock + 5, 10}, {.may_trim = true, .durability = Durability::fua});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(2), Durability::fua}));
  EXPECT_TRUE(knows_zeros(blocks(2, 2)));
}

TEST_F(ZeroBlockZeroTest, FailureLeavesUnknown) {
  make_zeros(blocks(2));
  fail_next(Op::zero);
  EXPECT_EQ(error_of([&] { zero(blocks(2, 3)); }), EIO);
  EXPECT_THAT(known(blocks(2, 3)), IsEmpty());
}

// --- Fast zeros ---

constexpr ZeroOptions kFast{.may_trim = true, .fast = true};

TEST_F(ZeroBlockZeroTest, FastZerosAreDoneWhereTheyAreKnown) {
  make_zeros(blocks(2, 2));
  zero(blocks(2, 2), kFast);
  EXPECT_THAT(below.calls(), IsEmpty());
  EXPECT_TRUE(layer->traits().can_fast_zero);
}

TEST_F(ZeroBlockZeroTest, FastZerosAreRefusedWhereTheLayerBelowIsSlowAndNothingIsForgotten) {
  make_zeros(blocks(2, 2));
  EXPECT_EQ(error_of([&] { zero(blocks(2, 3), kFast); }), ENOTSUP);
  EXPECT_THAT(below.calls(), IsEmpty());
  EXPECT_THAT(known(blocks(2, 3)), ElementsAre(Extent{blocks(2, 2), kHole}));
}

TEST_F(ZeroBlockZeroTest, FastZerosThatTheLayerBelowRefusesAreRefused) {
  below.change_traits().can_fast_zero = true;
  open();
  make_zeros(blocks(2, 2));
  fail_next(Op::zero, ENOTSUP);
  EXPECT_EQ(error_of([&] { zero(blocks(2, 3), kFast); }), ENOTSUP);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::zero, blocks(4)}));
  EXPECT_THAT(known(blocks(2, 3)), ElementsAre(Extent{blocks(2, 2), kHole}));
  zero(blocks(2, 3), kFast);
  EXPECT_TRUE(knows_zeros(blocks(2, 3)));
}

// --- Trims ---

class ZeroBlockTrimTest : public ZeroBlockTest {};

TEST_F(ZeroBlockTrimTest, WhatIsTrimmedIsUnknown) {
  make_zeros(blocks(2), false);
  write(pattern(kBlock, 1), 3 * kBlock);
  trim(blocks(2, 2));
  EXPECT_EQ(below.calls().back(), (Call{Op::trim, blocks(2, 2)}));
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
  below.fill(blocks(2, 2), std::byte{9});  // whatever a trimmed block may hold
  EXPECT_EQ(read(blocks(2, 2)), Bytes(2 * kBlock, std::byte{9}));
}

TEST_F(ZeroBlockTrimTest, HolesAreNotTrimmedAgainAndStayZeros) {
  make_zeros(blocks(2, 2));
  trim({2 * kBlock + 5, 2 * kBlock - 10});
  EXPECT_THAT(below.calls(), IsEmpty());
  trim({kBlock, 3 * kBlock + 10});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::trim, {kBlock, 3 * kBlock + 10}}));
  EXPECT_THAT(known({0, kDiskSize}), IsEmpty());
}

TEST_F(ZeroBlockTrimTest, HolesAtTheEndsAreLeftOut) {
  make_zeros(blocks(2));
  make_zeros(blocks(5, 2));
  trim({2 * kBlock + 5, 4 * kBlock});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::trim, blocks(3, 2)}));
  EXPECT_THAT(known({0, kDiskSize}),
              ElementsAre(Extent{blocks(2), kHole}, Extent{blocks(5, 2), kHole}));
}

TEST_F(ZeroBlockTrimTest, ZerosOfWhichAPartIsTrimmedAreForgottenAndTheRestIsNotTrimmed) {
  make_zeros(blocks(2), false);
  trim({2 * kBlock + 5, 10});
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::trim, {2 * kBlock + 5, 10}}));
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

TEST_F(ZeroBlockTrimTest, HolesAreTrimmedAgainWithFua) {
  make_zeros(blocks(2));
  trim(blocks(2), Durability::fua);
  EXPECT_THAT(below.calls(), ElementsAre(Call{Op::trim, blocks(2), Durability::fua}));
}

TEST_F(ZeroBlockTrimTest, FailureLeavesUnknown) {
  make_zeros(blocks(2), false);
  fail_next(Op::trim);
  EXPECT_EQ(error_of([&] { trim(blocks(2)); }), EIO);
  EXPECT_THAT(known(blocks(2)), IsEmpty());
}

}  // namespace
}  // namespace nbdstack::testing
