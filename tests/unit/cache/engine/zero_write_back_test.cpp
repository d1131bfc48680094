// Remembered zeros on their way to the layer below: order, failure, and how many there may be.
#include "tests/unit/cache/engine/zero_fixture.hpp"

namespace nbdstack::testing {
namespace {

// Block 0 is on its way below, until the gate is opened.
class CacheZeroBehindAWrite : public CacheZero {
 protected:
  std::future<void> begin_write_back() {
    write(block(0), 1);
    below->on_change = [this](Op op, const Range&) {
      if (op == Op::pwrite) gate.pass();
    };
    auto write_back = later([this] { cache().write_back_all(*below); });
    gate.wait_for_arrivals(1);
    return write_back;
  }

  Gate gate;
};

TEST_F(CacheZeroBehindAWrite, FollowsIt) {
  auto write_back = begin_write_back();
  zero(page(3, 2));  // none of these waits
  EXPECT_EQ(read(page(3, 2)), zeros(page(3, 2)));
  zero(block(0));
  EXPECT_EQ(read(block(0)), zeros(block(0)));
  EXPECT_TRUE(below->zeros().empty());
  gate.open();
  write_back.get();
  layer().flush();
  EXPECT_EQ(below->content(block(0)), zeros(block(0)));
  EXPECT_EQ(read(block(0)), zeros(block(0)));
}

TEST_F(CacheZeroBehindAWrite, OneThatMustNotBeAHoleIsNoneThoughATrimIsWaiting) {
  auto write_back = begin_write_back();
  trim(block(0));
  zero(block(0), {.may_trim = false});
  gate.open();
  write_back.get();
  layer().flush();
  ASSERT_FALSE(below->zeros().empty());
  EXPECT_FALSE(below->zeros().back().may_trim);
}

TEST_F(CacheZero, AWriteDuringItsWayBelowFollowsIt) {
  Gate gate;
  zero(block(0, 3));
  below->on_change = [&](Op op, const Range& range) {
    if (op == Op::zero && range.overlaps(block(1))) gate.pass();
  };
  auto write_back = later([this] { cache().write_back_all(*below); });
  gate.wait_for_arrivals(1);
  write(page(17), 7);
  auto fua = later([this] { write(page(40), 8, Durability::fua); });
  EXPECT_TRUE(below->writes().empty());
  gate.open();
  write_back.get();
  fua.get();
  EXPECT_EQ(below->content(page(40)), pattern(kPage, 8));
  layer().flush();
  EXPECT_EQ(below->content(page(17)), pattern(kPage, 7));
  EXPECT_EQ(read(page(17)), pattern(kPage, 7));
  EXPECT_EQ(read(page(18)), zeros(page(18)));
}

// A range comes apart where it is written while it waits to go below. What has been written since,
// and has gone below already, must not be zeroed with the rest of it.
TEST_F(CacheZero, WhatWasWrittenWhileAZeroWaitedForItsTurnIsNotZeroed) {
  below->change_traits().parallel = false;  // one range after the other
  Gate first;
  Gate second;
  zero(block(0));
  zero(block(10, 10));
  below->on_change = [&](Op op, const Range& range) {
    if (op != Op::zero) return;
    if (range.overlaps(block(0))) first.pass();
    if (range.overlaps(block(10))) second.pass();
  };
  auto write_back = later([this] { cache().write_back_all(*below); });
  first.wait_for_arrivals(1);
  write(block(15), 1);  // the second range is two now
  first.open();
  second.wait_for_arrivals(1);
  write(block(17), 2, Durability::fua);  // in the later one of them
  second.open();
  write_back.get();
  layer().flush();
  EXPECT_EQ(below->content(block(17)), pattern(kBlock, 2));
  EXPECT_EQ(below->content(block(15)), pattern(kBlock, 1));
  EXPECT_EQ(below->content(block(18, 2)), zeros(block(18, 2)));
}

TEST_F(CacheZero, AFailingOneStaysRememberedAndIsTriedAgain) {
  fill_below(block(0, 3));
  zero(block(0, 2));
  zero(page(33, 3));
  fail_changes(EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
  EXPECT_EQ(read(block(0, 2)), zeros(block(0, 2)));
  EXPECT_EQ(read(page(33, 3)), zeros(page(33, 3)));
  EXPECT_EQ(cache().unwritten_bytes(), 2 * kBlock + page(33, 3).length);
  let_all_pass();
  layer().flush();
  EXPECT_EQ(below->content(block(0, 2)), zeros(block(0, 2)));
  EXPECT_EQ(below->content(page(33, 3)), zeros(page(33, 3)));
  EXPECT_TRUE(below->writes().empty());
}

TEST_F(CacheZero, AreExtentsBeforeTheyAreBelow) {
  zero(block(1));
  trim(block(2));
  zero(page(48, 2));
  trim(page(50));
  write(page(51), 1);
  ExtentList found;
  layer().extents(5 * kBlock, 0, false, found);
  const ExtentType kZero{.hole = false, .zero = true};
  EXPECT_EQ(found.all(),
            (std::vector<Extent>{{block(0), kData},
                                 {block(1), kZero},
                                 {block(2), kHole},
                                 {page(48, 2), kZero},
                                 {page(50), kHole},
                                 {{page(51).offset, 5 * kBlock - 51 * kPage}, kData}}));
}

TEST_F(CacheZero, AreWrittenOverALayerThatCannotZero) {
  below->change_traits().zero = Support::none;
  fill_below(block(0, 2));
  zero(block(1, 70));
  zero(page(3, 2));
  EXPECT_EQ(layer().traits().zero, Support::native);
  EXPECT_TRUE(below->untouched());
  layer().flush();
  EXPECT_TRUE(below->zeros().empty());
  EXPECT_EQ(below->content(block(1, 70)), zeros(block(1, 70)));
  EXPECT_EQ(below->content(page(3, 2)), zeros(page(3, 2)));
  for (const Range& range : below->writes()) EXPECT_LE(range.length, 4U << 20U);
}

TEST_F(CacheZero, MoreRangesThanMemoryIsMeantForGoBelow) {
  constexpr std::uint64_t kMostRanges = 16384;
  settings.block_size = kPage;
  for (std::uint64_t i = 0; i < kMostRanges; ++i) zero(page(2 * i));
  EXPECT_TRUE(below->untouched());
  EXPECT_EQ(cache().unwritten_bytes(), kMostRanges * kPage);
  zero(page(2 * kMostRanges));
  EXPECT_LE(cache().unwritten_bytes(), kMostRanges * kPage);
  EXPECT_EQ(read(page(0, 5)), zeros(page(0, 5)));
  EXPECT_TRUE(below->writes().empty());
  layer().flush();
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

TEST_F(CacheZero, TheLargestDiskIsZeroedAndWrittenAtItsEnd) {
  constexpr std::uint64_t kSize = (std::uint64_t{1} << 63U) - 1;
  below = std::make_unique<SparseLayer>(kSize);
  const Range end{kSize - (std::uint64_t{8} << 30U), std::uint64_t{8} << 30U};
  fill_below({kSize - 100, 100});
  zero(end, {.may_trim = true});
  EXPECT_EQ(read({kSize - 100, 100}), zeros({0, 100}));
  write({kSize - 10, 10}, 3);
  auto expected = zeros({0, 100});
  const auto data = pattern(10, 3);
  std::copy(data.begin(), data.end(), expected.begin() + 90);
  EXPECT_EQ(read({kSize - 100, 100}), expected);
  ExtentList found;
  layer().extents(std::uint64_t{1} << 30U, kSize - (std::uint64_t{1} << 30U), false, found);
  EXPECT_EQ(found.all().front().type, kHole);
  EXPECT_EQ(found.all().back().type, kData);
  layer().flush();
  EXPECT_EQ(below->content({kSize - 100, 100}), expected);
  std::uint64_t zeroed = 0;
  for (const auto& each : below->zeros()) {
    EXPECT_LE(each.range.length, std::uint64_t{1} << 30U);
    zeroed += each.range.length;
  }
  EXPECT_GE(zeroed, end.length - 2 * kBlock);
  EXPECT_EQ(cache().unwritten_bytes(), 0U);
}

}  // namespace
}  // namespace nbdstack::testing
