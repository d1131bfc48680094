// What a read is held against, and what happens when it differs.
#include <gmock/gmock.h>

#include "common/hash/digest.hpp"
#include "tests/unit/md5/md5_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Call read_call(std::uint64_t offset, std::uint64_t length) {
  return {Op::pread, {offset, length}};
}

TEST_F(Md5Test, StaleReadIsRetriedUntilTheNewDataAppear) {
  open();
  const Bytes old = write_block(3, 1);
  const Bytes fresh = write_block(3, 2);
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    if (clock.slept() < seconds(2)) std::copy(old.begin(), old.end(), data.begin());
  });
  EXPECT_EQ(read_block(3), fresh);
  EXPECT_GE(clock.slept(), seconds(2));
}

TEST_F(Md5Test, DamagedReadEndsInEioThatNamesBlockAndDigests) {
  open();
  Bytes data = write_block(3, 1);
  corrupt_reads();
  std::string message;
  EXPECT_EQ(error_of([&] { read_block(3); }, &message), EIO);
  EXPECT_THAT(message, HasSubstr("block 3 "));
  EXPECT_THAT(message, HasSubstr("expected MD5 " + to_hex(md5(data))));
  data[0] ^= std::byte{1};
  EXPECT_THAT(message, HasSubstr("found " + to_hex(md5(data))));
  EXPECT_EQ(clock.slept(), seconds(30)) << "md5-retry-time is what it says";
}

TEST_F(Md5Test, PausesBetweenReadsDouble) {
  open();
  write_block(0, 1);
  below.forget_calls();
  std::vector<Duration> times;
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    times.push_back(clock.slept());
    data[0] ^= std::byte{1};
  });
  EXPECT_EQ(error_of([&] { read_block(0); }), EIO);
  // The first read is judged with a write possibly passing, the second is not.
  ASSERT_GE(times.size(), 6U);
  EXPECT_EQ(times[1], milliseconds(0));
  EXPECT_EQ(times[2], milliseconds(20));
  EXPECT_EQ(times[3], milliseconds(60));
  EXPECT_EQ(times[4], milliseconds(140));
  EXPECT_LT(times.size(), 30U) << "a broken store is not hammered";
}

TEST_F(Md5Test, RetryTimeZeroFailsWithoutSleeping) {
  open({.retry_time = Duration::zero()});
  write_block(0, 1);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(0); }), EIO);
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(Md5Test, BlocksThatWereNeverWrittenPass) {
  open();
  write_block(3, 1);
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(4); }), 0);
}

TEST_F(Md5Test, DigestIsForgottenAfterCacheTimeAndNotBefore) {
  open({.cache_time = seconds(10), .retry_time = Duration::zero()});
  write_block(3, 1);
  corrupt_reads();
  clock.advance(seconds(10) - milliseconds(1));
  EXPECT_EQ(error_of([&] { read_block(3); }), EIO);
  clock.advance(milliseconds(1));
  EXPECT_EQ(error_of([&] { read_block(3); }), 0);
}

TEST_F(Md5Test, CacheTimeZeroRemembersForEver) {
  open({.cache_time = Duration::zero()});
  write_block(3, 1);
  corrupt_reads();
  clock.advance(std::chrono::hours(10000));
  EXPECT_EQ(error_of([&] { read_block(3); }), EIO);
}

TEST_F(Md5Test, DigestDoesNotExpireWhileAReadRetriesByIt) {
  open({.cache_time = seconds(10), .retry_time = seconds(30)});
  write_block(3, 1);
  clock.advance(seconds(9));
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read_block(3); }), EIO) << "damage was passed when the digest was old";
}

TEST_F(Md5Test, DigestDoesNotExpireBetweenTheReadAndItsJudgement) {
  open({.cache_time = seconds(10)});
  write_block(3, 1);
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    clock.advance(seconds(11));
    data[0] ^= std::byte{1};
  });
  EXPECT_EQ(error_of([&] { read_block(3); }), EIO);
}

TEST_F(Md5Test, PartOfARememberedBlockIsReadWholeAndVerified) {
  open();
  const Bytes data = write_block(3, 1);
  below.forget_calls();
  EXPECT_EQ(read(3 * kBlock + 100, 50), Bytes(data.begin() + 100, data.begin() + 150));
  EXPECT_THAT(below.calls(), ElementsAre(read_call(3 * kBlock, kBlock)));
  corrupt_reads();  // outside of what is asked for
  EXPECT_EQ(error_of([&] { read(3 * kBlock + 100, 50); }), EIO);
}

TEST_F(Md5Test, PartOfAnUnknownBlockIsReadAsItIs) {
  open();
  write_block(3, 1);
  below.forget_calls();
  read(4 * kBlock + 100, 50);
  EXPECT_THAT(below.calls(), ElementsAre(read_call(4 * kBlock + 100, 50)));
}

TEST_F(Md5Test, LongReadIsOneRequestWidenedOnlyToRememberedEnds) {
  open();
  write_block(2, 1);
  write_block(3, 2);
  below.forget_calls();
  const Bytes data = read(2 * kBlock + 7, 4 * kBlock);  // the far end, in block 6, is unknown
  EXPECT_THAT(below.calls(), ElementsAre(read_call(2 * kBlock, 4 * kBlock + 7)));
  EXPECT_EQ(data, below.content({2 * kBlock + 7, 4 * kBlock}));
}

TEST_F(Md5Test, OnlyTheDifferingBlockOfALongReadIsReadAgain) {
  open();
  const Bytes data = pattern(8 * kBlock, 1);
  write(data, 0);
  below.forget_calls();
  bool damaged = false;
  below.on_read_result([&](std::span<std::byte> found, std::uint64_t) {
    if (!damaged) found[5 * kBlock] ^= std::byte{1};
    damaged = true;
  });
  EXPECT_EQ(read(0, 8 * kBlock), data);
  EXPECT_THAT(below.calls(), ElementsAre(read_call(0, 8 * kBlock), read_call(5 * kBlock, kBlock)));
}

TEST_F(Md5Test, WideningKeepsToTheLongestRequestThatTheLayerBelowTakes) {
  below.change_traits().minimum_block_size = 1;
  below.change_traits().preferred_block_size = kBlock;
  below.change_traits().maximum_block_size = 2 * kBlock;
  open();
  const Bytes data = pattern(3 * kBlock, 1);
  write(data, 0);
  below.forget_calls();
  EXPECT_EQ(read(100, 2 * kBlock), Bytes(data.begin() + 100, data.begin() + 100 + 2 * kBlock));
  EXPECT_THAT(below.calls(), ElementsAre(read_call(0, 2 * kBlock), read_call(2 * kBlock, kBlock)));
}

TEST_F(Md5Test, ShortLastBlockIsVerifiedToo) {
  open();
  const Bytes data = pattern(1000, 1);
  write(data, kBlocks * kBlock);
  EXPECT_EQ(read(kBlocks * kBlock + 10, 20), Bytes(data.begin() + 10, data.begin() + 30));
  corrupt_reads();
  EXPECT_EQ(error_of([&] { read(kBlocks * kBlock + 10, 20); }), EIO);
}

TEST_F(Md5Test, ShortLastBlockIsNotHeldAgainstALongerOneAfterTheDiskHasGrown) {
  open();
  write(pattern(1000, 1), kBlocks * kBlock);
  FakeLayer grown{kDiskSize + kBlock};
  Md5Layer later{grown, shared};
  Bytes data(kBlock);
  EXPECT_EQ(error_of([&] { later.pread(data, kBlocks * kBlock); }), 0);
}

TEST_F(Md5Test, ConnectionsToOneExportShareWhatIsRemembered) {
  open();
  write_block(3, 1);
  Md5Layer other{below, shared};
  corrupt_reads();
  Bytes data(kBlock);
  EXPECT_EQ(error_of([&] { other.pread(data, 3 * kBlock); }), EIO);
}

TEST_F(Md5Test, StatedBlockSizesAreConsistent) {
  open();
  EXPECT_EQ(layer->traits().minimum_block_size, 1U);
  EXPECT_EQ(layer->traits().preferred_block_size, kBlock);
  EXPECT_EQ(layer->traits().maximum_block_size, 0xffffffffU);
  below.change_traits().minimum_block_size = 512;
  below.change_traits().preferred_block_size = 2 * kBlock;
  below.change_traits().maximum_block_size = 16 * kBlock;
  const Md5Layer over_larger{below, shared};
  EXPECT_EQ(over_larger.traits().minimum_block_size, 512U);
  EXPECT_EQ(over_larger.traits().preferred_block_size, 2 * kBlock);
  EXPECT_EQ(over_larger.traits().maximum_block_size, 16 * kBlock);
}

}  // namespace
}  // namespace nbdstack::testing
