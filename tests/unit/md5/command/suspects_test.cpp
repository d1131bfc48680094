// Blocks that differ and are not damaged: each reason not to believe a record.
#include <gmock/gmock.h>

#include "tests/unit/md5/command/verify_fixture.hpp"

namespace nbdstack::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SuspectsTest : public VerifyTest {
 protected:
  // A block that the file knows, and that was flushed.
  void write_settled(std::uint64_t block, unsigned seed) {
    write_block(block, seed);
    flush();
  }
};

TEST_F(SuspectsTest, DoubtfulRecordsAccuseNobody) {
  write_block(3, 1);
  write_block(4, 2);
  kill_and_start();  // nothing was flushed
  ASSERT_TRUE(record_of(3)->doubtful);
  damage(3);
  const VerifyResult result = verify();
  EXPECT_EQ(result.doubtful_different, 1U);
  EXPECT_EQ(result.doubtful_right, 1U);
  EXPECT_TRUE(result.all_is_well());
  EXPECT_EQ(clock.slept(), Duration::zero());
}

TEST_F(SuspectsTest, FileThatWasNotClosedAccusesNobodyOfItsOpenRegions) {
  write_block(3, 1);
  kill();
  damage(3);
  EXPECT_EQ(verify().doubtful_different, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(SuspectsTest, WhatARunningServerHasNotFlushedIsDoubtful) {
  write_block(3, 1);
  damage(3);
  EXPECT_EQ(verify().doubtful_different, 1U);
  flush();
  EXPECT_EQ(verify().damaged, 1U);
}

// The pass began when it was settled.
TEST_F(SuspectsTest, RegionThatOpensMeanwhileIsDoubted) {
  write_settled(3, 1);
  damage(3);
  reader.after_read = [&](const Range& range) {
    if (range == range_of(3)) write_block(9, 1);
  };
  EXPECT_EQ(verify().doubtful_different, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(SuspectsTest, WriteBeforeTheReadIsFollowed) {
  write_settled(3, 1);
  bool written = false;
  reader.before_read = [&](const Range&) {
    if (!std::exchange(written, true)) write_settled(3, 2);
  };
  const VerifyResult result = verify();
  EXPECT_EQ(result.verified, 1U);
  EXPECT_EQ(result.changed, 0U);
  EXPECT_THAT(reader.reads, SizeIs(2));
}

TEST_F(SuspectsTest, BlockThatIsWrittenAllTheTimeIsNotJudged) {
  write_settled(3, 1);
  unsigned seed = 1;
  reader.before_read = [&](const Range&) { write_settled(3, ++seed); };
  const VerifyResult result = verify();
  EXPECT_EQ(result.changed, 1U);
  EXPECT_TRUE(result.all_is_well());
}

TEST_F(SuspectsTest, BlockThatIsTrimmedMeanwhileIsNotJudged) {
  write_settled(3, 1);
  reader.before_read = [&](const Range&) {
    layer->trim(kBlock, 3 * kBlock, Durability::on_flush);
    flush();
  };
  EXPECT_EQ(verify().changed, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

// The disk has it, and the record not yet: it is unknown as long as that lasts.
TEST_F(SuspectsTest, WriteUnderWayIsNotJudged) {
  write_settled(3, 1);
  stop();
  const auto digests = open_digests(disk);
  const Bytes data = pattern(kBlock, 2);
  std::optional<Md5File::Change> change;
  reader.before_read = [&](const Range&) {
    if (change) return;
    auto begun = digests->begin({3}, digests->load({3}, 1));
    ASSERT_TRUE(begun.has_value());
    change.emplace(std::move(*begun));
    put_back(data, 3);
  };
  EXPECT_EQ(verify().changed, 1U);
  EXPECT_THAT(findings, IsEmpty());
  const std::optional<Content> content = Content{md5(data), kBlock};
  change->record({&content, 1});
  change.reset();
  digests->settle(digests->quiet());
  EXPECT_EQ(verify().verified, 1U);
}

// Or else a recovery that comes between the two would be missed: it ends the doubt of the list when
// the record has got it.
TEST_F(SuspectsTest, ListIsLookedAtBeforeTheRecord) {
  write_settled(3, 1);
  damage(3);
  std::vector<std::uint64_t> looks;
  after_look->set([&](const Range& range) { looks.push_back(range.offset); });
  reader.on_flush = [&] { looks.clear(); };
  EXPECT_EQ(verify().damaged, 1U);
  constexpr std::uint64_t kIdentity_offset = 0;  // which generation the record has to be of
  EXPECT_THAT(looks, ElementsAre(kRegionList_offset, kRecords_offset, kIdentity_offset,
                                 offset_of_record({3})));
}

// A record that goes and comes back, the same to the second. What was read lay between.
TEST_F(SuspectsTest, RecordThatCameBackIsNotTheSame) {
  stop();
  const auto digests = open_digests(disk);
  const Bytes data = pattern(kBlock, 1);
  std::optional<Md5File::Change> change;
  const auto begin = [&] {
    auto begun = digests->begin({3}, digests->load({3}, 1));
    ASSERT_TRUE(begun.has_value());
    change.emplace(std::move(*begun));
    damage(3);
  };
  const auto end = [&] {
    put_back(data, 3);
    const std::optional<Content> content = Content{md5(data), kBlock};
    change->record({&content, 1});
    auto record = *digests->load({3}, 1).front();
    record.written_at_s =
        std::chrono::duration_cast<seconds>(clock.now().time_since_epoch()).count();
    put_record(disk, {3}, record);
    change.reset();
    digests->settle(digests->quiet());
  };
  begin();
  end();
  reader.before_read = [&](const Range&) { begin(); };
  reader.after_read = [&](const Range&) { end(); };
  EXPECT_EQ(verify().changed, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

// A cache above the filter, which the pass reads through.
TEST_F(SuspectsTest, WhatACacheHoldsBackIsNoDamage) {
  write_settled(3, 1);
  const Bytes newer = pattern(kBlock, 2);
  below.on_read_result([&](std::span<std::byte> data, std::uint64_t) {
    std::copy(newer.begin(), newer.end(), data.begin());
  });
  reader.on_flush = [&] {
    heal();
    write(newer, 3 * kBlock);
    flush();
  };
  EXPECT_EQ(verify().verified, 1U);
  EXPECT_EQ(reader.flushes, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

// A change that was never flushed, and is lost with what is below the filter: the disk has what was
// there before. The pass has met the block before the change, so that it has seen nothing of that.
class LostChangeTest : public SuspectsTest {
 protected:
  // `at_flush` comes between the read that finds the old data and the judgement.
  VerifyResult verify_while_a_change_is_lost(const std::function<void()>& at_flush) {
    write_settled(3, 1);
    const Bytes before = below.content(range_of(3));
    reader.before_read = [this, before](const Range&) {
      if (reader.reads.size() == 1) write_block(3, 2);
      if (reader.reads.size() != 2) return;
      kill();
      put_back(before, 3);
    };
    reader.on_flush = at_flush;
    return verify();
  }
};

TEST_F(LostChangeTest, IsNoDamageBeforeRecovery) {
  EXPECT_EQ(verify_while_a_change_is_lost([] {}).doubtful_different, 1U);
  EXPECT_EQ(reader.flushes, 1U);
  EXPECT_THAT(findings, IsEmpty());
}

TEST_F(LostChangeTest, IsNoDamageAfterRecovery) {
  const auto result = verify_while_a_change_is_lost([this] {
    if (reader.flushes == 1) start();
  });
  EXPECT_EQ(result.doubtful_different, 1U);
  EXPECT_EQ(reader.flushes, 2U);
  EXPECT_THAT(findings, IsEmpty());
}

}  // namespace
}  // namespace nbdstack::testing
