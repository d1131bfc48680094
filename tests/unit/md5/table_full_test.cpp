// The bound of the table, and who waits for it.
#include <thread>

#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

TEST_F(Md5Test, WriteWaitsForTheOldestToExpireRatherThanForgetAFreshOne) {
  open({.table_blocks = 2, .cache_time = seconds(10), .retry_time = seconds(1)});
  write_block(0, 1);
  clock.advance(seconds(4));
  write_block(1, 1);
  EXPECT_EQ(clock.slept(), seconds(4));
  write_block(2, 1);
  EXPECT_GE(clock.slept(), seconds(10));
  EXPECT_LT(clock.slept(), seconds(11)) << "block 1 expires only at 14 s";
  EXPECT_EQ(shared->digests.table().size(), 2U);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(0); }), 0);
  EXPECT_EQ(error_of([&] { read_block(1); }), EIO);
  EXPECT_EQ(error_of([&] { read_block(2); }), EIO);
}

TEST_F(Md5Test, WritingARememberedBlockAgainNeedsNoRoom) {
  open({.table_blocks = 2});
  write_block(0, 1);
  write_block(1, 1);
  write_block(0, 2);
  write(pattern(10, 3), kBlock);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(Md5Test, KeptForEverTheOldestMakesRoomWithoutWaiting) {
  open({.table_blocks = 2, .cache_time = Duration::zero(), .retry_time = Duration::zero()});
  write_block(0, 1);
  clock.advance(seconds(1));
  write_block(1, 1);
  clock.advance(seconds(1));
  write_block(0, 2);  // no longer the oldest
  clock.advance(seconds(1));
  write_block(2, 1);
  EXPECT_EQ(clock.slept(), seconds(3));
  EXPECT_EQ(shared->digests.table().size(), 2U);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(1); }), 0);
  EXPECT_EQ(error_of([&] { read_block(0); }), EIO);
  EXPECT_EQ(error_of([&] { read_block(2); }), EIO);
}

TEST_F(Md5Test, KeptForEverTheMinimumDelayIsNotForgottenToMakeRoom) {
  open({.table_blocks = 1, .cache_time = Duration::zero(), .min_write_delay = seconds(5)});
  write_block(0, 1);
  write_block(1, 1);
  EXPECT_GE(clock.slept(), seconds(5));
}

TEST_F(Md5Test, WriteLongerThanTheTableGoesDownInParts) {
  open({.table_blocks = 4, .cache_time = seconds(10)});
  const Bytes data = pattern(10 * kBlock, 1);
  write(data, 0);
  EXPECT_EQ(below.content({0, 10 * kBlock}), data);
  ASSERT_EQ(below.calls().size(), 3U);
  EXPECT_EQ(below.calls()[1].range, (Range{4 * kBlock, 4 * kBlock}));
  EXPECT_EQ(shared->digests.table().size(), 4U);
  EXPECT_GE(clock.slept(), seconds(20));
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(9); }), EIO);
}

TEST_F(Md5Test, PartlyWrittenUnknownBlocksDoNotFillTheTable) {
  open({.table_blocks = 2});
  for (std::uint64_t block = 0; block < kBlocks; ++block) write(pattern(10, 1), block * kBlock);
  EXPECT_EQ(shared->digests.table().size(), 0U);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(Md5Test, ZeroingMuchNeitherWaitsNorMakesTheNextWriteWait) {
  open({.table_blocks = 4});
  layer->zero(kDiskSize, 0, {});
  write_block(7, 1);
  write_block(8, 1);
  EXPECT_EQ(clock.slept(), Duration::zero());
  EXPECT_EQ(shared->digests.table().size(), 4U);
}

TEST_F(Md5Test, ZeroingForgetsWhatItOverwritesEvenWithoutRoomToRememberIt) {
  open({.table_blocks = 2});
  write_block(7, 1);
  write_block(8, 1);
  layer->zero(kDiskSize, 0, {});
  EXPECT_EQ(read_block(7), Bytes(kBlock));
  EXPECT_EQ(read_block(9), Bytes(kBlock));
}

TEST_F(Md5Test, KeptForEverZeroingMuchDoesNotForgetWrites) {
  open({.table_blocks = 4, .cache_time = Duration::zero()});
  for (std::uint64_t block = 0; block < 4; ++block) write_block(block, 1);
  layer->zero(4 * kBlock, 8 * kBlock, {});
  layer->zero(4 * kBlock, 12 * kBlock, {});
  corrupt_reads();
  for (std::uint64_t block = 0; block < 4; ++block) {
    EXPECT_EQ(error_of([&] { read_block(block); }), EIO);
  }
}

// The only entry belongs to a write that is under way: nothing expires by waiting.
TEST_F(Md5Test, WaitForRoomIsBoundedAndTheWriteGoesOnUnverified) {
  open({.table_blocks = 1, .cache_time = seconds(10), .retry_time = seconds(5)});
  Gate gate;
  below.on_call([&](const Call& call) {
    if (call == Call{Op::pwrite, {0, kBlock}}) gate.pass();
  });
  std::thread slow([&] { write_block(0, 1); });
  gate.wait_for_arrivals(1);
  const Bytes data = write_block(1, 2);
  EXPECT_GE(clock.slept(), seconds(15));
  EXPECT_LT(clock.slept(), seconds(16));
  EXPECT_EQ(read_block(1), data);
  EXPECT_EQ(shared->digests.table().size(), 1U);
  gate.open();
  slow.join();
}

// The writer of blocks 0 and 1 needs the room of the entry by which a reader of block 0 judges: it
// must wait for it without owning what the reader may have to wait for.
TEST_F(Md5Test, ReaderThatRetriesAndWriterThatWaitsForRoomDoNotBlockEachOther) {
  open({.table_blocks = 1, .cache_time = seconds(10), .retry_time = seconds(5)});
  write_block(0, 1);
  Gate gate;
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    gate.pass();
    data[0] ^= std::byte{1};
  });
  int code = 0;
  std::thread reader([&] { code = error_of([&] { read_block(0); }); });
  gate.wait_for_arrivals(1);
  const Bytes data = pattern(2 * kBlock, 2);
  write(data, 0);  // ends although the reader keeps the only entry
  EXPECT_EQ(below.content({0, 2 * kBlock}), data);
  gate.open();
  reader.join();
  EXPECT_EQ(code, EIO);
}

}  // namespace
}  // namespace nbdstack::testing
