// Md5Layer with an md5-file: what it finds after a restart, doubt, flushes and failures.
#include <gmock/gmock.h>

#include "filters/md5/disk_check.hpp"
#include "tests/unit/md5/file_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = SimulatedDisk::Kind;

class Md5WithFileTest : public Md5FileTest {
 protected:
  // The message of the EIO that a read of the block ends with.
  std::string complaint_about(std::uint64_t block) {
    std::string message;
    EXPECT_EQ(error_of([&] { read_block(block); }, &message), EIO);
    EXPECT_THAT(message, HasSubstr(fmt::format("md5: block {} (offset {}", block, block * kBlock)));
    return message;
  }
};

// --- Months later ---

TEST_F(Md5WithFileTest, WhatWasWrittenIsReadAfterARestart) {
  const Bytes data = write_block(2, 1);
  restart();
  EXPECT_EQ(read_block(2), data);
  EXPECT_EQ(read(2 * kBlock + 10, 20), Bytes(data.begin() + 10, data.begin() + 30));
  EXPECT_TRUE(is_verified(2));
  EXPECT_FALSE(is_verified(3));
}

TEST_F(Md5WithFileTest, BitRotIsFoundAfterARestart) {
  write_block(2, 1);
  restart();
  below.fill({2 * kBlock + 77, 1}, std::byte{0x5a});
  EXPECT_THAT(complaint_about(2), AllOf(HasSubstr("damaged data, another block's"),
                                        HasSubstr("written 20"), HasSubstr("4096 bytes")));
  std::string message;
  EXPECT_EQ(error_of([&] { read(2 * kBlock + 100, 8); }, &message), EIO) << "of a part";
}

TEST_F(Md5WithFileTest, LostBlockIsNamedAfterARestart) {
  write_block(2, 1);
  restart();
  below.fill(range_of(2), std::byte{0});
  EXPECT_THAT(complaint_about(2), HasSubstr("it reads as zeros: the layer below has lost it"));
}

TEST_F(Md5WithFileTest, OldCopyIsNamedAfterARestart) {
  const Bytes old = write_block(2, 1);
  write_block(2, 2);
  restart();
  below.pwrite(old, 2 * kBlock, Durability::on_flush);
  EXPECT_THAT(complaint_about(2), HasSubstr("an old copy, what was there before"));
}

TEST_F(Md5WithFileTest, ZeroedBlockIsRememberedAndTrimmedOneIsNot) {
  write_block(2, 1);
  write_block(3, 1);
  layer->zero(kBlock, 2 * kBlock, {});
  layer->trim(kBlock, 3 * kBlock, Durability::on_flush);
  restart();
  EXPECT_EQ(read_block(2), Bytes(kBlock));
  EXPECT_TRUE(is_verified(2));
  EXPECT_FALSE(is_verified(3));
}

TEST_F(Md5WithFileTest, PartIsMergedIntoVerifiedBlockAfterARestart) {
  Bytes data = write_block(2, 1);
  restart();
  write(Bytes(100, std::byte{9}), 2 * kBlock + 50);
  std::fill_n(data.begin() + 50, 100, std::byte{9});
  restart();
  EXPECT_EQ(read_block(2), data);
  EXPECT_TRUE(is_verified(2));
  below.fill({2 * kBlock, 1}, data[0] ^ std::byte{1});
  EXPECT_EQ(error_of([&] { write(Bytes(100), 2 * kBlock + 500); }), EIO) << "into damage";
}

TEST_F(Md5WithFileTest, ShortLastBlockIsRemembered) {
  const Bytes data = pattern(1000, 1);
  write(data, kBlocks * kBlock);
  restart();
  EXPECT_EQ(read(kBlocks * kBlock, 1000), data);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read(kBlocks * kBlock, 1000); }), EIO);
}

TEST_F(Md5WithFileTest, LastBlockOfADiskThatHasGrownIsUnknown) {
  write(pattern(1000, 1), kBlocks * kBlock);
  const Bytes first = write_block(2, 2);
  stop();
  FakeLayer larger(kDiskSize + kBlock);
  larger.fill({0, kDiskSize + kBlock}, std::byte{3});
  larger.pwrite(first, 2 * kBlock, Durability::on_flush);
  shared = std::make_shared<Md5Export>(Md5Options{.retry_time = Duration::zero()}, kBlock, clock,
                                       open_digests(disk));
  layer = std::make_unique<Md5Layer>(larger, shared);
  EXPECT_EQ(read(kBlocks * kBlock, kBlock), Bytes(kBlock, std::byte{3}));
  EXPECT_EQ(read_block(2), first);
  write(Bytes(10, std::byte{4}), kBlocks * kBlock + 1);
  EXPECT_EQ(read(kBlocks * kBlock, 1), Bytes(1, std::byte{3}));
}

// --- Whether it is this disk's ---

class DiskCheckTest : public Md5WithFileTest {
 protected:
  int check(std::string* message = nullptr) {
    return error_of(
        [&] { expect_same_disk(*shared->digests.file(), below, BlockGeometry(kDiskSize, kBlock)); },
        message);
  }
};

TEST_F(DiskCheckTest, AnotherDiskIsRefused) {
  EXPECT_EQ(check(), 0) << "nothing is known";
  for (const std::uint64_t block : {1, 5, 9}) write_block(block, 1);
  EXPECT_EQ(check(), 0);
  below.fill({0, kDiskSize}, std::byte{3});
  std::string message;
  EXPECT_EQ(check(&message), EINVAL);
  EXPECT_THAT(message, AllOf(HasSubstr("none of 3 blocks"), HasSubstr("the first is 1"),
                             HasSubstr(kFileName)));
}

TEST_F(DiskCheckTest, DamageIsLeftToReads) {
  for (const std::uint64_t block : {1, 5, 9}) write_block(block, 1);
  below.fill({0, 8 * kBlock}, std::byte{3});
  EXPECT_EQ(check(), 0);
}

TEST_F(DiskCheckTest, OneBlockIsNoDisk) {
  write_block(5, 1);
  below.fill({0, kDiskSize}, std::byte{3});
  EXPECT_EQ(check(), 0);
}

TEST_F(DiskCheckTest, DoubtfulBlocksProveNothing) {
  for (const std::uint64_t block : {1, 5, 9}) write_block(block, 1);
  kill_and_start();
  below.fill({0, kDiskSize}, std::byte{3});
  EXPECT_EQ(check(), 0);
}

// --- Doubt ---

TEST_F(Md5WithFileTest, DoubtfulBlockIsConfirmedByAReadThatMatches) {
  const Bytes data = leave_doubtful(2);
  EXPECT_EQ(read_block(2), data);
  EXPECT_FALSE(record_of(2)->doubtful);
  EXPECT_TRUE(is_verified(2));
  restart();
  EXPECT_TRUE(is_verified(2));
}

TEST_F(Md5WithFileTest, DoubtfulBlockThatDiffersPassesAndIsUnknown) {
  leave_doubtful(2);
  below.fill(range_of(2), std::byte{7});
  EXPECT_EQ(read_block(2), Bytes(kBlock, std::byte{7}));
  EXPECT_EQ(record_of(2), std::nullopt);
  restart();
  EXPECT_FALSE(is_verified(2));
}

TEST_F(Md5WithFileTest, ReadOfAPartConfirmsToo) {
  leave_doubtful(2);
  read(2 * kBlock + 5, 5);
  EXPECT_FALSE(record_of(2)->doubtful);
}

TEST_F(Md5WithFileTest, ConfirmingDoesNotChangeWhenItWasWritten) {
  const Bytes data = pattern(kBlock, 1);
  below.pwrite(data, 2 * kBlock, Durability::on_flush);
  const Md5FileRecord record{.content = {md5(data), kBlock},
                             .previous = Content{md5(pattern(kBlock, 2)), kBlock},
                             .written_at_s = 1'000'000'000,
                             .doubtful = true};
  put_record(disk, {2}, record);
  EXPECT_EQ(read_block(2), data);
  ASSERT_TRUE(record_of(2).has_value());
  EXPECT_FALSE(record_of(2)->doubtful);
  EXPECT_EQ(record_of(2)->previous, record.previous);
  EXPECT_EQ(record_of(2)->written_at_s, record.written_at_s);
}

TEST_F(Md5WithFileTest, PartWrittenIntoADoubtfulBlockMakesItUnknown) {
  leave_doubtful(2);
  below.fill(range_of(2), std::byte{7});
  write(Bytes(10, std::byte{1}), 2 * kBlock);
  EXPECT_EQ(record_of(2), std::nullopt);
  EXPECT_EQ(read(2 * kBlock + 10, 1), Bytes(1, std::byte{7}));
}

TEST_F(Md5WithFileTest, ReadSucceedsWhereItsOutcomeCannotBeRecorded) {
  const Bytes data = leave_doubtful(2);
  fail_disk(disk, Kind::write, EIO);
  EXPECT_EQ(read_block(2), data);
  disk.set_hook({});
  EXPECT_TRUE(record_of(2) && record_of(2)->doubtful);
  read_block(2);
  EXPECT_FALSE(record_of(2)->doubtful);
}

// --- Flushes ---

TEST_F(Md5WithFileTest, FlushSettlesAndGoesBelowFirst) {
  write_block(2, 1);
  std::vector<std::string> order;
  below.on_call([&](const Call& call) {
    if (call.op == Op::flush) order.emplace_back("flush below");
  });
  disk.set_hook([&](const SimulatedDisk::Operation& operation) {
    if (operation.kind == Kind::sync) order.emplace_back("sync");
  });
  layer->flush();
  disk.set_hook({});
  EXPECT_THAT(order, ElementsAre("flush below", "sync"));
  kill_and_start();
  EXPECT_FALSE(record_of(2)->doubtful);
  EXPECT_TRUE(is_verified(2));
}

TEST_F(Md5WithFileTest, FlushThatFailsBelowSettlesNothing) {
  write_block(2, 1);
  fail_next(Op::flush);
  EXPECT_EQ(error_of([&] { layer->flush(); }), EIO);
  kill_and_start();
  EXPECT_TRUE(record_of(2)->doubtful);
}

TEST_F(Md5WithFileTest, FlushSucceedsWhereItCannotSettle) {
  write_block(2, 1);
  const LoggedErrors errors;
  fail_disk_once(disk, Kind::sync);
  layer->flush();
  EXPECT_THAT(errors.lines(), ElementsAre(HasSubstr("will be doubtful")));
  layer->flush();
  kill_and_start();
  EXPECT_FALSE(record_of(2)->doubtful);
}

TEST_F(Md5WithFileTest, WriteThatBeginsDuringTheFlushBelowIsNotSettled) {
  write_block(2, 1);
  below.on_call([&](const Call& call) {
    if (call.op != Op::flush) return;
    below.on_call(nullptr);
    write_block(2, 2);
  });
  layer->flush();
  kill_and_start();
  EXPECT_TRUE(record_of(2)->doubtful);
}

TEST_F(Md5WithFileTest, LayerThatCannotFlushIsSettledAtTheEnd) {
  below.change_traits().can_flush = false;
  stop();
  start();
  write_block(2, 1);
  restart();
  EXPECT_FALSE(record_of(2)->doubtful);
  EXPECT_THAT(below.calls(Op::flush), IsEmpty());
}

TEST_F(Md5WithFileTest, ClientThatLeavesFlushesOnlyWhatIsUnsettled) {
  layer->finalize();
  EXPECT_THAT(below.calls(Op::flush), IsEmpty());
  write_block(2, 1);
  layer->finalize();
  layer->finalize();
  EXPECT_THAT(below.calls(Op::flush), SizeIs(1));
}

TEST_F(Md5WithFileTest, LastFlushThatFailsIsSaid) {
  write_block(2, 1);
  fail_next(Op::flush);
  const LoggedErrors errors;
  layer->finalize();
  EXPECT_THAT(errors.lines(), ElementsAre(HasSubstr("the last flush for a client that leaves")));
}

// --- Failures ---

TEST_F(Md5WithFileTest, WriteWhoseOldRecordCannotGoFailsAndChangesNothing) {
  const Bytes data = write_block(2, 1);
  fail_disk(disk, Kind::write, EIO);
  std::string message;
  EXPECT_EQ(error_of([&] { write_block(2, 2); }, &message), EIO);
  EXPECT_THAT(message, HasSubstr("an old digest must not stay"));
  EXPECT_EQ(error_of([&] { layer->zero(kBlock, 2 * kBlock, {}); }), EIO);
  EXPECT_EQ(error_of([&] { layer->trim(kBlock, 2 * kBlock, Durability::on_flush); }), EIO);
  EXPECT_EQ(below.content(range_of(2)), data);
  EXPECT_EQ(read_block(2), data);
  EXPECT_TRUE(is_verified(2));
}

TEST_F(Md5WithFileTest, WriteThatCannotBeRecordedGoesOn) {
  write_block(2, 1);
  const LoggedErrors errors;
  // The region is open and the old record unknown: what fails is the new one.
  below.on_call([&](const Call& call) {
    if (call.op == Op::pwrite) fail_disk(disk, Kind::write, ENOSPC);
  });
  const Bytes data = write_block(2, 2);
  disk.set_hook({});
  EXPECT_THAT(errors.lines(), ElementsAre(HasSubstr("not remembered until")));
  EXPECT_EQ(read_block(2), data);
  EXPECT_FALSE(is_verified(2));
}

TEST_F(Md5WithFileTest, WriteThatFailedBelowLeavesItUnknown) {
  write_block(2, 1);
  fail_next(Op::pwrite);
  EXPECT_EQ(error_of([&] { write_block(2, 2); }), EIO);
  layer->flush();
  kill_and_start();
  EXPECT_EQ(record_of(2), std::nullopt);
}

// As programs do that only want to know.
TEST_F(Md5WithFileTest, FastZeroingThatIsRefusedForgetsNothing) {
  write_block(2, 1);
  below.on_call([](const Call& call) {
    if (call.op == Op::zero) throw Error(ENOTSUP, "not fast");
  });
  EXPECT_EQ(error_of([&] { layer->zero(kBlock, 2 * kBlock, {.fast = true}); }), ENOTSUP);
  EXPECT_TRUE(is_verified(2));
}

// The table's bound is for what is under way: what was written is in the file.
TEST_F(Md5WithFileTest, SmallTableForgetsNothing) {
  stop();
  start({.table_blocks = 1, .cache_time = milliseconds(1), .retry_time = Duration::zero()});
  const Bytes data = pattern(kBlocks * kBlock, 1);
  write(data, 0);
  clock.advance(seconds(1000));
  EXPECT_EQ(read(0, data.size()), data);
  for (std::uint64_t block = 0; block < kBlocks; ++block) EXPECT_TRUE(is_verified(block)) << block;
}

TEST_F(Md5WithFileTest, DelayBetweenTwoWritesIsKept) {
  stop();
  start({.retry_time = Duration::zero(), .min_write_delay = seconds(3)});
  write_block(2, 1);
  EXPECT_EQ(clock.slept(), Duration::zero());
  write_block(2, 2);
  EXPECT_EQ(clock.slept(), seconds(3));
  EXPECT_TRUE(is_verified(2));
}

}  // namespace
}  // namespace nbdstack::testing
