// What a write, zero or trim sends below, and what is remembered of it.
#include <gmock/gmock.h>

#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Call call(Op op, std::uint64_t offset, std::uint64_t length) {
  return {op, {offset, length}};
}

class Md5WritingTest : public Md5Test {
 protected:
  // Nothing is waited for unless a test says so.
  void open(const Md5Options& options = {.retry_time = Duration::zero()}) {
    Md5Test::open(options);
  }
  // Whether damage in a read of this block is noticed. That it is not noticed where there is none
  // is expected of every block.
  bool is_verified(std::uint64_t block) {
    corrupt_reads();
    const std::uint64_t length = std::min<std::uint64_t>(kBlock, kDiskSize - block * kBlock);
    const int code = error_of([&] { read(block * kBlock, length); });
    heal();
    EXPECT_EQ(error_of([&] { read(block * kBlock, length); }), 0) << "a right block is refused";
    return code == EIO;
  }
};

TEST_F(Md5WritingTest, LongWriteIsOneRequestAndEveryBlockIsRemembered) {
  open();
  write(pattern(4 * kBlock, 1), 2 * kBlock);
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::pwrite, 2 * kBlock, 4 * kBlock)));
  for (std::uint64_t block = 2; block < 6; ++block) EXPECT_TRUE(is_verified(block));
  EXPECT_FALSE(is_verified(1));
  EXPECT_FALSE(is_verified(6));
}

TEST_F(Md5WritingTest, PartsOfUnknownBlocksGoAlongAndStayUnknown) {
  open();
  write(pattern(2 * kBlock, 1), 2 * kBlock + 100);
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::pwrite, 2 * kBlock + 100, 2 * kBlock)));
  EXPECT_FALSE(is_verified(2));
  EXPECT_TRUE(is_verified(3));
  EXPECT_FALSE(is_verified(4));
}

TEST_F(Md5WritingTest, PartOfARememberedBlockIsFoldedIntoTheWhole) {
  open();
  Bytes expected = write_block(2, 1);
  const Bytes part = pattern(50, 2);
  below.forget_calls();
  write(part, 2 * kBlock + 100);
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::pread, 2 * kBlock, kBlock),
                                         call(Op::pwrite, 2 * kBlock, kBlock)));
  std::copy(part.begin(), part.end(), expected.begin() + 100);
  EXPECT_EQ(below.content({2 * kBlock, kBlock}), expected);
  EXPECT_EQ(read_block(2), expected);
  EXPECT_TRUE(is_verified(2));
}

TEST_F(Md5WritingTest, RememberedEndsOfALongWriteAreFoldedAndTheMiddleIsOneRequest) {
  open();
  write_block(2, 1);
  write_block(5, 2);
  below.forget_calls();
  const Bytes data = pattern(3 * kBlock, 3);
  write(data, 2 * kBlock + 100);
  EXPECT_THAT(below.calls(Op::pwrite), ElementsAre(call(Op::pwrite, 2 * kBlock, kBlock),
                                                   call(Op::pwrite, 5 * kBlock, kBlock),
                                                   call(Op::pwrite, 3 * kBlock, 2 * kBlock)));
  EXPECT_EQ(read(2 * kBlock + 100, 3 * kBlock), data);
  for (std::uint64_t block = 2; block < 6; ++block) EXPECT_TRUE(is_verified(block));
}

TEST_F(Md5WritingTest, PartIsNotMergedIntoAStaleCopy) {
  open({.retry_time = seconds(30)});
  const Bytes old = write_block(2, 1);
  Bytes expected = write_block(2, 2);
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    if (clock.slept() < seconds(1)) std::copy(old.begin(), old.end(), data.begin());
  });
  const Bytes part = pattern(50, 3);
  write(part, 2 * kBlock);
  std::copy(part.begin(), part.end(), expected.begin());
  EXPECT_EQ(below.content({2 * kBlock, kBlock}), expected);
}

TEST_F(Md5WritingTest, PartIsRefusedWhenTheRestCannotBeReadRight) {
  open();
  const Bytes expected = write_block(2, 1);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { write(pattern(50, 2), 2 * kBlock); }), EIO);
  heal();
  EXPECT_EQ(below.content({2 * kBlock, kBlock}), expected);
  EXPECT_TRUE(is_verified(2)) << "nothing was written: what is remembered still holds";
}

TEST_F(Md5WritingTest, ShortLastBlockIsWholeWhenWrittenToTheEnd) {
  open();
  write(pattern(kBlock + 1000, 1), (kBlocks - 1) * kBlock);
  EXPECT_TRUE(is_verified(kBlocks));
  below.forget_calls();
  write(pattern(10, 2), kBlocks * kBlock + 990);
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::pread, kBlocks * kBlock, 1000),
                                         call(Op::pwrite, kBlocks * kBlock, 1000)));
  EXPECT_TRUE(is_verified(kBlocks));
}

TEST_F(Md5WritingTest, FailedWriteLeavesBlocksUnknownUntilWrittenAgain) {
  open();
  write(pattern(2 * kBlock, 1), 2 * kBlock);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write(pattern(2 * kBlock, 2), 2 * kBlock); }), EIO);
  EXPECT_FALSE(is_verified(2));
  EXPECT_FALSE(is_verified(3));
  write_block(2, 3);
  EXPECT_TRUE(is_verified(2));
  EXPECT_FALSE(is_verified(3));
}

TEST_F(Md5WritingTest, FailedFoldZeroAndTrimLeaveTheBlockUnknown) {
  open();
  write_block(2, 1);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write(pattern(50, 2), 2 * kBlock); }), EIO);
  EXPECT_FALSE(is_verified(2));
  write_block(2, 1);
  fail_next(Op::zero);
  EXPECT_EQ(error_of([&] { layer->zero(kBlock, 2 * kBlock, {}); }), EIO);
  EXPECT_FALSE(is_verified(2));
  write_block(2, 1);
  fail_next(Op::trim);
  EXPECT_EQ(error_of([&] { layer->trim(kBlock, 2 * kBlock, Durability::on_flush); }), EIO);
  EXPECT_FALSE(is_verified(2));
}

TEST_F(Md5WritingTest, ZeroedBlocksAreRememberedAsZeros) {
  open();
  const Bytes old = write_block(2, 1);
  layer->zero(kDiskSize - 2 * kBlock, 2 * kBlock, {});
  EXPECT_THAT(below.calls(Op::zero),
              ElementsAre(call(Op::zero, 2 * kBlock, kDiskSize - 2 * kBlock)));
  EXPECT_EQ(read_block(2), Bytes(kBlock));
  for (std::uint64_t block = 2; block <= kBlocks; ++block) EXPECT_TRUE(is_verified(block));
  below.fill({2 * kBlock, kBlock}, std::byte{7});  // the zeroing got lost below
  EXPECT_EQ(error_of([&] { read_block(2); }), EIO);
}

TEST_F(Md5WritingTest, PartlyZeroedRememberedEndsAreFoldedAndUnknownOnesZeroed) {
  open();
  Bytes expected = write_block(2, 1);
  below.forget_calls();
  layer->zero(2 * kBlock, 2 * kBlock + 100, {.durability = Durability::fua});
  EXPECT_THAT(below.calls(),
              ElementsAre(call(Op::pread, 2 * kBlock, kBlock),
                          Call{Op::pwrite, {2 * kBlock, kBlock}, Durability::fua},
                          Call{Op::zero, {3 * kBlock, kBlock + 100}, Durability::fua}));
  std::fill(expected.begin() + 100, expected.end(), std::byte{0});
  EXPECT_EQ(read_block(2), expected);
  EXPECT_TRUE(is_verified(2));
  EXPECT_TRUE(is_verified(3));
  EXPECT_FALSE(is_verified(4));
}

TEST_F(Md5WritingTest, FastZeroIsPassedOrRefusedBeforeAnythingIsChanged) {
  below.change_traits().can_fast_zero = true;
  open();
  layer->zero(2 * kBlock, 8 * kBlock + 100, {.fast = true});
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::zero, 8 * kBlock + 100, 2 * kBlock)));
  write_block(4, 1);
  below.forget_calls();
  EXPECT_EQ(error_of([&] { layer->zero(2 * kBlock, 2 * kBlock + 100, {.fast = true}); }), ENOTSUP);
  EXPECT_THAT(below.calls(), IsEmpty());
  EXPECT_TRUE(is_verified(4));
}

TEST_F(Md5WritingTest, TrimmedBlocksAreUnknown) {
  open();
  write(pattern(4 * kBlock, 1), 2 * kBlock);
  below.forget_calls();
  layer->trim(2 * kBlock, 2 * kBlock + 100, Durability::fua);
  EXPECT_THAT(below.calls(),
              ElementsAre(Call{Op::trim, {2 * kBlock + 100, 2 * kBlock}, Durability::fua}));
  EXPECT_FALSE(is_verified(2));
  EXPECT_FALSE(is_verified(3));
  EXPECT_FALSE(is_verified(4)) << "a part of it has unspecified content now";
  EXPECT_TRUE(is_verified(5));
}

TEST_F(Md5WritingTest, FuaReachesTheLayerBelowOnEveryPathOfAWrite) {
  open();
  write_block(2, 1);
  below.forget_calls();
  layer->pwrite(pattern(2 * kBlock, 1), 2 * kBlock + 100, Durability::fua);
  ASSERT_EQ(below.calls(Op::pwrite).size(), 2U);
  for (const Call& each : below.calls(Op::pwrite)) EXPECT_EQ(each.durability, Durability::fua);
}

TEST_F(Md5WritingTest, FlushCacheAndExtentsPass) {
  open();
  layer->flush();
  layer->cache(100, 50);
  ExtentList extents;
  layer->extents(100, 50, true, extents);
  EXPECT_THAT(below.calls(), ElementsAre(call(Op::flush, 0, 0), call(Op::cache, 50, 100),
                                         call(Op::extents, 50, 100)));
  EXPECT_EQ(extents.end(), 150U);
}

TEST_F(Md5WritingTest, SecondWriteOfABlockWaitsForTheMinimumDelayAndOthersDoNot) {
  open({.min_write_delay = seconds(3)});
  write_block(2, 1);
  write_block(3, 1);
  EXPECT_EQ(clock.slept(), Duration::zero());
  clock.advance(seconds(1));
  write_block(2, 2);
  EXPECT_EQ(clock.slept(), seconds(3));  // one by the test, two by the write
}

TEST_F(Md5WritingTest, MinimumDelayHoldsAfterPartialFailedAndTrimmingChanges) {
  open({.min_write_delay = seconds(3)});
  write(pattern(50, 1), 2 * kBlock);
  write(pattern(50, 2), 2 * kBlock);
  EXPECT_EQ(clock.slept(), seconds(3));
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write_block(2, 3); }), EIO);
  EXPECT_EQ(clock.slept(), seconds(6));
  layer->trim(kBlock, 2 * kBlock, Durability::on_flush);
  EXPECT_EQ(clock.slept(), seconds(9));
  layer->zero(kBlock, 2 * kBlock, {});
  EXPECT_EQ(clock.slept(), seconds(12));
}

// A clock of a server that is stopping.
class StoppingClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return TimePoint{}; }
  void sleep_for(Duration /*duration*/) override { throw Error(ESHUTDOWN, "stopping"); }
};

TEST_F(Md5WritingTest, WritesAreNotLostWhenTheServerStopsWhileTheyWait) {
  StoppingClock stopping;
  const Md5Options options{.table_blocks = 1, .min_write_delay = seconds(3)};
  shared = std::make_shared<Md5Export>(options, kBlock, stopping);
  layer = std::make_unique<Md5Layer>(below, shared);
  write_block(2, 1);
  const Bytes second = write_block(2, 2);  // would wait for the delay
  const Bytes other = write_block(3, 3);   // would wait for room in the table
  EXPECT_EQ(below.content({2 * kBlock, kBlock}), second);
  EXPECT_EQ(below.content({3 * kBlock, kBlock}), other);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(2); }), ESHUTDOWN) << "a wrong read is never passed";
}

}  // namespace
}  // namespace nbdstack::testing
