// Writing, zeroing and trimming, in each mode.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

class CacheWrite : public CacheTest {
 protected:
  std::vector<std::byte> zeros(std::size_t length) { return std::vector<std::byte>(length); }
};

TEST_F(CacheWrite, KeepsWritesUntilTheyAreFlushed) {
  const auto data = pattern(kBlock, 2);
  write(data, block(4).offset);
  EXPECT_TRUE(below.calls().empty());
  EXPECT_EQ(read(block(4)), data);
  layer().flush();
  EXPECT_EQ(below.content(block(4)), data);
  EXPECT_EQ(below.calls().back().op, Op::flush);
}

TEST_F(CacheWrite, AWholeBlockIsNotReadFirst) {
  write(pattern(3 * kBlock, 2), block(4).offset);
  EXPECT_TRUE(below.calls(Op::pread).empty());
}

TEST_F(CacheWrite, PartOfABlockIsJoinedWithWhatIsBelow) {
  below.fill(block(2), std::byte{7});
  const auto data = pattern(100, 3);
  write(data, block(2).offset + 50);
  auto expected = below.content(block(2));
  std::copy(data.begin(), data.end(), expected.begin() + 50);
  EXPECT_EQ(read(block(2)), expected);
  layer().flush();
  EXPECT_EQ(below.content(block(2)), expected);
}

TEST_F(CacheWrite, TheLastByteOfAnUnalignedDiskIsWritten) {
  below.change_traits().size_bytes = kDiskSize - 1000;
  const auto data = pattern(kBlock - 1000, 3);
  write(data, kDiskSize - kBlock);
  EXPECT_TRUE(below.calls(Op::pread).empty());  // all there is of this block
  layer().flush();
  EXPECT_EQ(below.content({kDiskSize - kBlock, kBlock - 1000}), data);
}

TEST_F(CacheWrite, FuaIsBelowWhenItReturns) {
  const auto data = pattern(2 * kBlock, 2);
  write(data, block(4).offset, Durability::fua);
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::pwrite, block(4, 2), Durability::fua}}));
  EXPECT_EQ(below.content(block(4, 2)), data);
  layer().flush();
  EXPECT_EQ(below.calls(Op::pwrite).size(), 1U);  // nothing was left to do
}

TEST_F(CacheWrite, FuaIsAFlushWhereTheLayerBelowHasNoFua) {
  below.change_traits().fua = Support::none;
  write(pattern(kBlock, 2), 0, Durability::fua);
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::pwrite, block(0)}, {Op::flush, {}}}));
}

TEST_F(CacheWrite, AFailedFuaWriteStaysDirtyAndIsNotTakenForStored) {
  const auto data = pattern(kBlock, 2);
  fail(Op::pwrite, ENOSPC);
  EXPECT_EQ(code_of([&] { write(data, 0, Durability::fua); }), ENOSPC);
  EXPECT_EQ(code_of([&] { layer().flush(); }), ENOSPC);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content(block(0)), data);
}

TEST_F(CacheWrite, WritethroughIsBelowWhenItReturnsAndCached) {
  settings.mode = CacheMode::writethrough;
  const auto data = pattern(kBlock, 2);
  write(data, block(4).offset);
  EXPECT_EQ(below.content(block(4)), data);
  below.forget_calls();
  EXPECT_EQ(read(block(4)), data);
  EXPECT_TRUE(below.calls().empty());
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheWrite, AWritethroughThatFailsIsNotReadableAfterwards) {
  settings.mode = CacheMode::writethrough;
  settings.cache_on_read = [] { return true; };
  const auto before = pattern(kBlock, 1);
  write(before, 0);
  fail(Op::pwrite, EIO);
  EXPECT_EQ(code_of([&] { write(pattern(100, 2), 10); }), EIO);
  let_all_pass();
  below.forget_calls();
  EXPECT_EQ(read(block(0)), before);
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);  // what is below counts, not what was cached
}

TEST_F(CacheWrite, UnsafeIgnoresFlushAndFua) {
  settings.mode = CacheMode::unsafe;
  write(pattern(kBlock, 2), 0, Durability::fua);
  layer().flush();
  EXPECT_TRUE(below.calls().empty());
  cache().write_back_all(below);  // but what the server still holds when it stops goes down
  EXPECT_EQ(below.content(block(0)), pattern(kBlock, 2));
}

TEST_F(CacheWrite, ZerosReplaceWhatIsDirty) {
  write(pattern(3 * kBlock, 2), 0);
  layer().zero(2 * kBlock, 100, {});
  auto expected = pattern(3 * kBlock, 2);
  std::fill_n(expected.begin() + 100, 2 * kBlock, std::byte{0});
  EXPECT_EQ(read(block(0, 3)), expected);
  layer().flush();
  EXPECT_EQ(below.content(block(0, 3)), expected);
}

TEST_F(CacheWrite, TrimThatGoesAroundDropsWholeBlocksAndLeavesPartsAlone) {
  let_trims_go_around();
  const auto data = pattern(3 * kBlock, 2);
  write(data, 0);
  layer().trim(2 * kBlock, 100, Durability::on_flush);
  EXPECT_EQ(below.calls(Op::trim), (std::vector<Call>{{Op::trim, block(1)}}));
  layer().flush();
  const auto after = read(block(0, 3));
  EXPECT_TRUE(std::equal(data.begin(), data.begin() + kBlock, after.begin()));
  EXPECT_TRUE(std::equal(data.begin() + 2 * kBlock, data.end(), after.begin() + 2 * kBlock));
  EXPECT_EQ(below.calls(Op::pwrite).size(), 2U);  // the trimmed block did not come back
}

TEST_F(CacheWrite, AFailedTrimLeavesDirtyDataToBeWritten) {
  let_trims_go_around();
  const auto data = pattern(kBlock, 2);
  write(data, 0);
  fail(Op::trim, EIO);
  EXPECT_EQ(code_of([&] { trim(block(0)); }), EIO);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below.content(block(0)), data);
}

TEST_F(CacheWrite, WhatGoesAroundIsFlushedAtOnceOverALayerThatIsNotMultiConn) {
  let_trims_go_around();
  below.change_traits().can_multi_conn = false;
  trim(block(0));
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::trim, block(0)}, {Op::flush, {}}}));
  EXPECT_TRUE(layer().traits().can_multi_conn);
}

TEST_F(CacheWrite, DirtyDataOverAHoleIsData) {
  ExtentList hole;
  hole.append({0, kDiskSize}, kHole);
  below.set_extents(hole);
  write(pattern(kBlock, 2), block(4).offset + 10);
  ExtentList found;
  layer().extents(kDiskSize, 0, false, found);
  const std::vector<Extent> expected{{{0, 4 * kBlock}, kHole},
                                     {block(4, 2), kData},
                                     {{6 * kBlock, kDiskSize - 6 * kBlock}, kHole}};
  EXPECT_EQ(found.all(), expected);
  ExtentList first;
  layer().extents(kDiskSize, block(4).offset, true, first);
  EXPECT_EQ(first.all(), (std::vector<Extent>{{block(4, 2), kData}}));
}

}  // namespace
}  // namespace nbdstack::testing
