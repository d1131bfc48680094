// What a pass finds on a disk that nobody changes, and what it reads for that.
#include <gmock/gmock.h>

#include "tests/unit/md5/command/verify_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PassTest : public VerifyTest {
 protected:
  // Everything, the short last block included.
  void write_all() {
    write(pattern(kDiskSize, 1), 0);
    flush();
  }
  // The kind of damage of the one block that was found.
  [[nodiscard]] std::optional<Damage> damage_of(std::uint64_t block) const {
    if (findings.size() != 1 || findings[0].block != BlockNumber{block}) return std::nullopt;
    return findings[0].damage;
  }
};

TEST_F(PassTest, CleanDiskIsVerified) {
  write_all();
  const VerifyResult result = verify();
  EXPECT_EQ(result.blocks, kBlocks + 1);
  EXPECT_EQ(result.verified, kBlocks + 1);
  EXPECT_EQ(result.unknown(), 0U);
  EXPECT_EQ(result.bytes, kDiskSize);
  EXPECT_TRUE(result.all_is_well());
  EXPECT_THAT(findings, IsEmpty());
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(PassTest, UnknownBlocksAreNotRead) {
  write_block(2, 1);
  write_block(3, 2);
  write_block(7, 3);
  flush();
  damage(5);
  const VerifyResult result = verify();
  EXPECT_EQ(result.verified, 3U);
  EXPECT_EQ(result.unknown(), kBlocks + 1 - 3);
  EXPECT_THAT(reader.reads, ElementsAre(Range{2 * kBlock, 2 * kBlock}, range_of(7)));
}

TEST_F(PassTest, EmptyFileKnowsNothing) {
  const VerifyResult result = verify();
  EXPECT_EQ(result.unknown(), kBlocks + 1);
  EXPECT_THAT(reader.reads, IsEmpty());
}

TEST_F(PassTest, NeighboursAreReadTogetherUpToALimit) {
  write_all();
  verify({.requests = 1, .run_bytes = 6 * kBlock});
  EXPECT_THAT(reader.reads, ElementsAre(Range{0, 6 * kBlock}, Range{6 * kBlock, 6 * kBlock},
                                        Range{12 * kBlock, kDiskSize - 12 * kBlock}));
  reader.reads.clear();
  reader.longest_request = 2 * kBlock;
  verify({.requests = 1, .run_bytes = 6 * kBlock});
  EXPECT_THAT(reader.reads, SizeIs(9));
  reader.reads.clear();
  reader.longest_request = 512;  // the reader cuts blocks up
  verify();
  EXPECT_THAT(reader.reads, SizeIs(kBlocks + 1));
}

TEST_F(PassTest, SoManyRequestsAndNoMore) {
  write_all();
  verify({.requests = 3, .run_bytes = kBlock});
  EXPECT_EQ(reader.most_under_way, 3U);
  EXPECT_THAT(reader.reads, SizeIs(kBlocks + 1));
}

TEST_F(PassTest, AnswersInAnyOrder) {
  write_all();
  damage(4);
  reader.latest_first = true;
  const VerifyResult result = verify({.requests = 5, .run_bytes = 2 * kBlock});
  EXPECT_EQ(result.verified, kBlocks);
  EXPECT_EQ(damage_of(4), Damage::damaged);
}

TEST_F(PassTest, BitThatTurnedIsDamage) {
  write_all();
  damage(4);
  const VerifyResult result = verify();
  EXPECT_EQ(damage_of(4), Damage::damaged);
  EXPECT_EQ(findings[0].range, range_of(4));
  EXPECT_EQ(findings[0].written_at_s, record_of(4)->written_at_s);
  EXPECT_EQ(result.damaged, 1U);
  EXPECT_EQ(result.verified, kBlocks);
  EXPECT_FALSE(result.all_is_well());
}

TEST_F(PassTest, ZerosAreLost) {
  write_all();
  below.fill(range_of(4), std::byte{0});
  EXPECT_EQ(verify().lost, 1U);
  EXPECT_EQ(damage_of(4), Damage::lost);
}

TEST_F(PassTest, WhatItHeldBeforeIsOld) {
  const Bytes before = write_block(4, 1);
  write_block(4, 2);
  flush();
  put_back(before, 4);
  EXPECT_EQ(verify().old, 1U);
  EXPECT_EQ(damage_of(4), Damage::old);
}

TEST_F(PassTest, ShortLastBlockIsJudged) {
  write_all();
  below.fill({kBlocks * kBlock + 999, 1}, std::byte{0x55});
  verify();
  EXPECT_EQ(damage_of(kBlocks), Damage::damaged);
  EXPECT_EQ(findings[0].range, (Range{kBlocks * kBlock, 1000}));
}

TEST_F(PassTest, DamageIsReadThreeTimes) {
  write_all();
  damage(4);
  verify({.requests = 1, .run_bytes = kDiskSize});
  EXPECT_THAT(reader.reads, ElementsAre(Range{0, kDiskSize}, range_of(4), range_of(4)));
  EXPECT_EQ(clock.slept(), 2 * VerifyPass::kPause);
}

TEST_F(PassTest, DamageThatHealsIsNone) {
  write_all();
  const Bytes right = below.content(range_of(4));
  damage(4);
  unsigned reads = 0;
  reader.before_read = [&](const Range& range) {
    if (range == range_of(4) && ++reads == 2) put_back(right, 4);
  };
  EXPECT_EQ(verify().verified, kBlocks + 1);
  EXPECT_EQ(reads, 2U);
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(PassTest, AllIsFoundOnADiskOfWhichNothingIsRight) {
  write_all();
  for (std::uint64_t block = 0; block <= kBlocks; ++block) damage(block);
  const VerifyResult result = verify({.requests = 2, .run_bytes = 3 * kBlock});
  EXPECT_EQ(result.damaged, kBlocks + 1);
  EXPECT_TRUE(result.nothing_matched());
  EXPECT_THAT(findings, SizeIs(kBlocks + 1));
  // They wait for their time together.
  EXPECT_EQ(clock.slept(), 2 * VerifyPass::kPause);
}

TEST_F(PassTest, WaitsForItsSuspectsWhenTheyAreMany) {
  write_all();
  for (std::uint64_t block = 0; block <= kBlocks; ++block) damage(block);
  const VerifyResult result = verify({.requests = 1, .run_bytes = kBlock, .most_suspects = 2});
  EXPECT_EQ(result.damaged, kBlocks + 1);
  reader.reads.resize(4);
  EXPECT_THAT(reader.reads, ElementsAre(range_of(0), range_of(1), range_of(0), range_of(1)));
}

TEST_F(PassTest, OneBlockOfOneSaysNothingOfTheDisk) {
  write_block(4, 1);
  flush();
  damage(4);
  const VerifyResult result = verify();
  EXPECT_EQ(result.damaged, 1U);
  EXPECT_FALSE(result.nothing_matched());
}

// --- Reads that fail ---

TEST_F(PassTest, FailedReadIsRepeatedBlockByBlock) {
  write_all();
  reader.unreadable = {4 * kBlock + 17};
  const VerifyResult result = verify();
  EXPECT_EQ(result.unreadable, 1U);
  EXPECT_EQ(result.verified, kBlocks);
  EXPECT_EQ(damage_of(4), Damage::unreadable);
  EXPECT_THAT(failures, ElementsAre("told to fail"));
  EXPECT_THAT(reader.reads, SizeIs(1 + kBlocks + 1));
  EXPECT_FALSE(result.all_is_well());
}

TEST_F(PassTest, FailureThatPassesIsNone) {
  write_all();
  reader.unreadable = {4 * kBlock};
  reader.before_read = [&](const Range& range) {
    if (range == range_of(4)) reader.unreadable.clear();
  };
  EXPECT_EQ(verify().verified, kBlocks + 1);
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(PassTest, SuspectThatCannotBeReadAgainIsUnreadable) {
  write_all();
  damage(4);
  reader.before_read = [&](const Range& range) {
    if (range == range_of(4)) reader.unreadable = {4 * kBlock};
  };
  EXPECT_EQ(verify().unreadable, 1U);
  EXPECT_EQ(damage_of(4), Damage::unreadable);
}

TEST_F(PassTest, LostConnectionEndsThePass) {
  write_all();
  damage(4);
  reader.after_read = [&](const Range&) { reader.is_lost = true; };
  std::string message;
  EXPECT_EQ(error_of([&] { verify({.requests = 2, .run_bytes = kBlock}); }, &message), ENOTCONN);
  EXPECT_EQ(message, "told to be lost");
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(PassTest, FlushThatFailsEndsThePass) {
  write_all();
  damage(4);
  reader.on_flush = [] { throw Error(EIO, "told to fail"); };
  EXPECT_EQ(error_of([&] { verify(); }), EIO);
  EXPECT_THAT(findings, IsEmpty());
}

}  // namespace
}  // namespace nbdstack::testing
