// Zeros and trims: remembered without storage and without a request, and never data below.
#include "tests/unit/cache/engine/zero_fixture.hpp"

namespace nbdstack::testing {
namespace {

TEST_F(CacheZero, WholeBlocksCostNeitherStorageNorARequest) {
  fill_below(block(0, 6));
  count_stored();
  zero(block(1, 4));
  EXPECT_EQ(read(block(1, 4)), zeros(block(1, 4)));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(stored, 0U);
  EXPECT_EQ(cache().cached_bytes(), 0U);
  EXPECT_EQ(cache().unwritten_bytes(), 4 * kBlock);
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(1, 4)}}));
  EXPECT_TRUE(below->writes().empty());
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
  EXPECT_EQ(read(block(1, 4)), zeros(block(1, 4)));
}

TEST_F(CacheZero, PagesOfAnUncachedBlockCostNeither) {
  fill_below(block(0));
  count_stored();
  zero(page(3, 5));
  EXPECT_EQ(read(page(3, 5)), zeros(page(3, 5)));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(stored, 0U);
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{page(3, 5)}}));
  EXPECT_TRUE(below->writes().empty());
  EXPECT_TRUE(below->reads().empty());
}

TEST_F(CacheZero, CachedBlocksLeaveTheCache) {
  write(block(1, 2), 1);
  zero(block(1, 2));
  EXPECT_EQ(cache().cached_bytes(), 0U);
  EXPECT_EQ(read(block(1, 2)), zeros(block(1, 2)));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(1, 2)}}));
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, PagesOfACachedBlockAreZeroedAndTheRestIsWritten) {
  write(page(0, 8), 1);
  zero(page(4, 8));
  EXPECT_EQ(read(page(4, 8)), zeros(page(4, 8)));
  layer().flush();
  EXPECT_EQ(below->writes(), std::vector<Range>{page(0, 4)});
  EXPECT_EQ(below->zeros(), (Zeros{{page(4, 8)}}));
}

TEST_F(CacheZero, CleanPagesAreZeroedBelowToo) {
  write(block(0), 1);
  layer().flush();
  zero(page(4, 2));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{page(4, 2)}}));
  EXPECT_EQ(below->content(page(4, 2)), zeros(page(4, 2)));
  EXPECT_EQ(read(page(4, 2)), zeros(page(4, 2)));
}

TEST_F(CacheZero, OnlyTheEndsThatCoverPagesInPartAreData) {
  fill_below(block(0, 4));
  const Range range{100, 3 * kBlock};
  const auto before = below->content(block(0, 4));
  zero(range);
  auto expected = before;
  std::fill_n(expected.begin() + 100, range.length, std::byte{0});
  EXPECT_EQ(read(block(0, 4)), expected);
  layer().flush();
  EXPECT_EQ(below->content(block(0, 4)), expected);
  const auto sent = below->zeros();
  EXPECT_TRUE(std::ranges::find(sent, SparseLayer::Zero{block(1, 2)}) != sent.end());
  for (const Range& each : below->writes()) EXPECT_FALSE(each.overlaps(block(1, 2)));
}

TEST_F(CacheZero, AZeroInsideAPageIsData) {
  fill_below(block(0));
  auto expected = below->content(page(0));
  zero({10, 20});
  std::fill_n(expected.begin() + 10, 20, std::byte{0});
  EXPECT_EQ(read(page(0)), expected);
  layer().flush();
  EXPECT_EQ(below->content(page(0)), expected);
  EXPECT_TRUE(below->zeros().empty());
}

TEST_F(CacheZero, TrimmedRangesGoBelowAsHoles) {
  trim(block(1, 2));
  trim(page(3, 2));
  zero(page(5, 2), {.may_trim = true});
  zero(block(5), {.may_trim = true});
  EXPECT_TRUE(below->untouched());
  layer().flush();
  auto sent = below->zeros();
  std::ranges::sort(sent, {}, [](const auto& each) { return each.range.offset; });
  EXPECT_EQ(sent, (Zeros{{page(3, 4), true}, {block(1, 2), true}, {block(5), true}}));
}

TEST_F(CacheZero, AZeroThatMayNotTrimReplacesAHole) {
  trim(block(1, 3));
  zero(block(2));
  trim(page(0, 4));
  zero(page(1, 2));
  layer().flush();
  auto sent = below->zeros();
  std::ranges::sort(sent, {}, [](const auto& each) { return each.range.offset; });
  const auto at = [&](std::uint64_t offset) {
    return std::ranges::find_if(sent, [&](const auto& each) {
      return each.range.contains({offset, 1});
    });
  };
  ASSERT_NE(at(block(2).offset), sent.end());
  EXPECT_FALSE(at(block(2).offset)->may_trim);
  EXPECT_TRUE(at(block(1).offset)->may_trim);
  EXPECT_TRUE(at(block(3).offset)->may_trim);
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, PartsOfPagesAreLeftAloneByATrim) {
  write(page(0, 3), 1);
  trim({100, 2 * kPage});
  auto expected = pattern(3 * kPage, 1);
  std::fill_n(expected.begin() + kPage, kPage, std::byte{0});
  EXPECT_EQ(read(page(0, 3)), expected);
}

TEST_F(CacheZero, AFastZeroIsTakenWhereItIsRememberedAndRefusedWhereItWouldBeAWrite) {
  EXPECT_TRUE(layer().traits().can_fast_zero);
  write(page(0, 2), 1);
  EXPECT_EQ(code_of([&] { zero({10, 100}, {.fast = true}); }), ENOTSUP);
  EXPECT_EQ(read(page(0, 2)), pattern(2 * kPage, 1));
  zero(page(1), {.fast = true});
  zero(block(3), {.fast = true});
  EXPECT_EQ(read(page(1)), zeros(page(1)));
  EXPECT_TRUE(below->untouched());
}

TEST_F(CacheZero, WritethroughPassesZerosOn) {
  settings.mode = CacheMode::writethrough;
  write(page(0, 4), 1);
  zero(page(1, 2), {.may_trim = true, .durability = Durability::fua});
  EXPECT_EQ(below->zeros(), (Zeros{{page(1, 2), true, Durability::fua}}));
  EXPECT_EQ(read(page(1, 2)), zeros(page(1, 2)));
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, FuaIsBelowWhenItReturns) {
  zero(block(1), {.durability = Durability::fua});
  EXPECT_EQ(below->zeros(), (Zeros{{block(1), false, Durability::fua}}));
  zero(page(3), {.durability = Durability::fua});
  EXPECT_EQ(below->zeros().back(), (SparseLayer::Zero{page(3), false, Durability::fua}));
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, AWriteIntoRememberedZerosReadsNothing) {
  fill_below(block(0, 3));
  zero(block(0, 3));
  write({page(20).offset + 10, 100}, 7);
  auto expected = zeros(block(0, 3));
  const auto data = pattern(100, 7);
  std::copy(data.begin(), data.end(), expected.begin() + 20 * kPage + 10);
  EXPECT_EQ(read(block(0, 3)), expected);
  EXPECT_TRUE(below->untouched());
  layer().flush();
  EXPECT_TRUE(below->reads().empty());
  EXPECT_EQ(below->content(block(0, 3)), expected);
  EXPECT_EQ(read(block(0, 3)), expected);
}

TEST_F(CacheZero, AWrittenBlockBecomesZerosAgain) {
  zero(block(0, 3));
  write(block(1), 7);
  zero(block(1));
  EXPECT_EQ(read(block(0, 3)), zeros(block(0, 3)));
  layer().flush();
  EXPECT_EQ(below->zeros(), (Zeros{{block(0, 3)}}));
  EXPECT_TRUE(below->writes().empty());
}

}  // namespace
}  // namespace nbdstack::testing
