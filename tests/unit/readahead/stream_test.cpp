// A stream that has been found: which reads are its own, and how its window moves.
#include "filters/readahead/stream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "filters/readahead/asked_ranges.hpp"
#include "tests/unit/fakes/break_invariant.hpp"
#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace testing {

NBDSTACK_OPEN_MEMBER(BytesOfAskedRanges, &AskedRanges::bytes_);

}  // namespace testing

namespace {

using testing::BytesOfAskedRanges;
using testing::kKiB;
using testing::kMiB;

using Relation = Stream::Relation;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kStreamedDisk = 64 * kMiB;
constexpr std::uint64_t kPlenty = 1ULL << 40U;
constexpr WindowLimits kLimits{.first_bytes = 128 * kKiB, .largest_bytes = kMiB};

Range read(std::uint64_t offset_kib, std::uint64_t length_kib = 64) {
  return {offset_kib * kKiB, length_kib * kKiB};
}

Stream forward_from(std::uint64_t kib, const WindowLimits& limits = kLimits) {
  return Stream({.next = kib * kKiB}, kStreamedDisk, limits);
}

Stream backward_from(std::uint64_t kib) {
  const AccessPattern pattern{.direction = Direction::backward,
                              .next = kAddressSpaceEnd - kib * kKiB};
  return Stream(pattern, kStreamedDisk, kLimits);
}

// Takes a read that has to be the stream's own.
void take(Stream& stream, const Range& range, bool others_under_way = false) {
  const auto match = stream.match(range, others_under_way);
  ASSERT_NE(match.relation, Relation::stranger) << range.offset;
  stream.take(range, match.relation);
}

TEST(Stream, WindowDoublesUpToTheLargestAndMovesWhenHalfOfItIsRead) {
  Stream stream = forward_from(0);
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(0, 128)));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(128, 128)));  // 256 ahead
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(256, 256)));  // 512 ahead
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(512, 512)));  // 1 MiB ahead
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
  take(stream, read(0, 448));
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
  take(stream, read(448, 64));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(1024, 512)));
}

TEST(Stream, BackwardIsTheSameFromTheOtherSide) {
  Stream stream = backward_from(2048);
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(1920, 128)));
  take(stream, read(1984));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(1728, 192)));
  EXPECT_EQ(stream.match(read(1984), false).relation, Relation::stranger);
}

TEST(Stream, WindowsEndWithTheDisk) {
  Stream up = forward_from(kStreamedDisk / kKiB - 100);
  EXPECT_THAT(up.move_window(kPlenty), ElementsAre(read(kStreamedDisk / kKiB - 100, 100)));
  EXPECT_THAT(up.move_window(kPlenty), IsEmpty());
  Stream down = backward_from(100);
  EXPECT_THAT(down.move_window(kPlenty), ElementsAre(read(0, 100)));
  EXPECT_THAT(down.move_window(kPlenty), IsEmpty());
}

TEST(Stream, TheLargestDiskEndsLikeAnyOther) {
  constexpr std::uint64_t kSize = kAddressSpaceEnd - 1;
  Stream stream({.next = kSize - 1000}, kSize, kLimits);
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(Range{kSize - 1000, 1000}));
  take(stream, {kSize - 1000, 1000});
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
  EXPECT_THAT(stream.expected(), IsEmpty());
}

TEST(Stream, WindowsEndOnBoundsOfPreferredBlocks) {
  WindowLimits limits = kLimits;
  limits.preferred_block_size = 256 * kKiB;
  Stream stream = forward_from(10, limits);
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(10, 128)));  // inside the first block
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(138, 118)));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(256, 256)));
}

TEST(Stream, SmallWindowsKeepToTheLeastBlockSize) {
  WindowLimits limits = kLimits;
  limits.preferred_block_size = static_cast<std::uint32_t>(kMiB);
  limits.minimum_block_size = 64 * kKiB;
  Stream stream = forward_from(64, limits);
  EXPECT_THAT(stream.move_window(150 * kKiB), ElementsAre(read(64, 128)));
}

TEST(Stream, WhatIsNotAllowedIsNotAskedForAndLittleIsNotWorthARequest) {
  Stream stream = forward_from(0);
  EXPECT_THAT(stream.move_window(0), IsEmpty());
  EXPECT_THAT(stream.move_window(100 * kKiB), IsEmpty());
  EXPECT_THAT(stream.move_window(128 * kKiB), ElementsAre(read(0, 128)));
  take(stream, read(0, 128));
  // 256 KiB are wanted; that they were not granted whole keeps the window from growing.
  EXPECT_THAT(stream.move_window(192 * kKiB), ElementsAre(read(128, 192)));
  EXPECT_EQ(stream.ahead_bytes(), 192 * kKiB);
  take(stream, read(128, 128));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(320, 192)));
}

TEST(Stream, AReaderWhoIsFasterStartsAnewWhereHeIs) {
  Stream stream = forward_from(0);
  take(stream, read(0, 512));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(512, 128)));
}

TEST(Stream, SkipsWithinTheWindowOrOfOneReadAreTheStreamsOwn) {
  Stream stream = forward_from(0);
  EXPECT_EQ(stream.match(read(64), false).relation, Relation::next);
  EXPECT_EQ(stream.match(read(128), false).relation, Relation::stranger);
  stream.move_window(kPlenty);
  EXPECT_EQ(stream.match(read(128), false).relation, Relation::next);
  EXPECT_EQ(stream.match(read(192), false).relation, Relation::stranger);
}

TEST(Stream, OvertakenReadsFillTheirGaps) {
  Stream stream = forward_from(0);
  EXPECT_EQ(stream.match(read(1024), false).relation, Relation::stranger);
  take(stream, read(1024), true);
  EXPECT_EQ(stream.match(read(2240), true).relation, Relation::stranger);  // 17 reads on
  for (unsigned i = 0; i < 16; ++i) take(stream, read(std::uint64_t{64} * i), true);
  EXPECT_EQ(stream.match(read(0), true).relation, Relation::stranger);
  EXPECT_FALSE(stream.is_lost());
  EXPECT_THAT(stream.expected(), IsEmpty());
}

TEST(Stream, WhoSkipsMoreOftenThanNotIsLost) {
  Stream stream = forward_from(0);
  for (unsigned i = 0; i < 2; ++i) {
    take(stream, read(64 + std::uint64_t{128} * i));
    EXPECT_FALSE(stream.is_lost());
  }
  take(stream, read(320));
  EXPECT_TRUE(stream.is_lost());
}

TEST(Stream, NothingIsAskedForUponASkip) {
  Stream stream = forward_from(0);
  take(stream, read(64));
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
  take(stream, read(0));  // it was only overtaken
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(128, 128)));
}

TEST(Stream, WhoGoesOnTwiceWhereHeIsExpectedReadsOn) {
  Stream stream = forward_from(0);
  take(stream, read(64));  // skips
  take(stream, read(0));   // fills the gap
  take(stream, read(128));
  EXPECT_FALSE(stream.reads_on());
  take(stream, read(256));
  EXPECT_FALSE(stream.reads_on());
  take(stream, read(320));
  EXPECT_TRUE(stream.reads_on());
}

TEST(Stream, SkippingOneReadInFourIsNoReasonToBeLost) {
  Stream stream = forward_from(0);
  for (unsigned i = 0; i < 400; ++i) {
    if (i % 4 != 3) take(stream, read(std::uint64_t{64} * i));
  }
  EXPECT_FALSE(stream.is_lost());
}

TEST(Stream, GapsAreGivenUpOneByOne) {
  Stream stream = forward_from(0);
  std::vector<Range> given_up;
  for (unsigned i = 0; i < 18; ++i) {
    // A quarter of a read is left out before each.
    const Range range{(80 * i + 16) * kKiB, 64 * kKiB};
    if (const auto gap = stream.take(range, stream.match(range, false).relation)) {
      given_up.push_back(*gap);
    }
  }
  EXPECT_THAT(given_up, ElementsAre(read(0, 16), read(80, 16)));
  EXPECT_EQ(stream.expected().size(), 16U);
}

TEST(Stream, AStrideIsAskedForStepByStep) {
  Stream stream({.next = 0, .step = 256 * kKiB, .length = 64 * kKiB}, kStreamedDisk, kLimits);
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(0), read(256)));
  EXPECT_EQ(stream.ahead_bytes(), 128 * kKiB);
  EXPECT_EQ(stream.match(read(64), true).relation, Relation::stranger);
  EXPECT_EQ(stream.match(read(0, 128), true).relation, Relation::stranger);
  take(stream, read(0));
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(512), read(768), read(1024)));
  take(stream, read(512));  // one is left out
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
  take(stream, read(256));
  EXPECT_THAT(stream.move_window(64 * kKiB), ElementsAre(read(1280)));
}

// Between the steps that were left out others may read.
TEST(Stream, OnlyReadsOnAStepFillTheGapsOfAStride) {
  Stream stream({.next = 0, .step = 256 * kKiB, .length = 64 * kKiB}, kStreamedDisk, kLimits);
  take(stream, read(512));
  for (const Range& other : {read(64), read(320), read(256, 32), read(320, 128)}) {
    EXPECT_EQ(stream.match(other, true).relation, Relation::stranger) << other.offset;
  }
  EXPECT_EQ(stream.match(read(256), true).relation, Relation::late);
  EXPECT_EQ(stream.match(read(0), true).relation, Relation::late);
}

TEST(Stream, AStrideBackwardsEndsWithTheDisk) {
  const Range last = read(512);
  const AccessPattern pattern{.direction = Direction::backward,
                              .next = along(Direction::backward, last).offset + 256 * kKiB,
                              .step = 256 * kKiB,
                              .length = 64 * kKiB};
  Stream stream(pattern, kStreamedDisk, {.first_bytes = kMiB, .largest_bytes = kMiB});
  EXPECT_THAT(stream.move_window(kPlenty), ElementsAre(read(256), read(0)));
  EXPECT_THAT(stream.move_window(kPlenty), IsEmpty());
}

TEST(Stream, AStrideOfSmallReadsIsBounded) {
  Stream stream({.next = 0, .step = 4096, .length = 512}, kStreamedDisk, kLimits);
  EXPECT_EQ(stream.move_window(kPlenty).size(), 64U);
}

// --- Broken invariants ---

TEST(Stream, WindowNeverEndsBeforeTheNextRead) {
  // The offset of its second read would need more than 64 bits.
  Stream stream({.direction = Direction::backward,
                 .next = kAddressSpaceEnd - kMiB,
                 .step = ~std::uint64_t{0} - kAddressSpaceEnd + kMiB + 1,
                 .length = 64 * kKiB},
                kStreamedDisk, kLimits);
  EXPECT_THAT(stream.move_window(64 * kKiB), ElementsAre(read(960)));
  EXPECT_BROKEN(stream.move_window(kPlenty), "asked_to_ >= next_; asked_to_, next_ = 0, ");
}

TEST(Stream, StepsHaveReadsOfSomeLength) {
  EXPECT_BROKEN(Stream({.step = kMiB}, kStreamedDisk, kLimits), "step_ == 0 .. length_ != 0");
}

TEST(Stream, BlocksBelowArePowersOfTwo) {
  EXPECT_BROKEN(forward_from(0, {.preferred_block_size = 3}), "minimum_block_size = 3, 1");
  EXPECT_BROKEN(forward_from(0, {.minimum_block_size = 0}), "minimum_block_size = 1, 0");
}

class AskedRangesInvariants : public ::testing::Test {
 protected:
  AskedRangesInvariants() { asked.add(read(64)); }

  AskedRanges asked;
};

TEST_F(AskedRangesInvariants, ARangeIsRequestedOnce) {
  EXPECT_BROKEN(asked.add(read(100)), "!runs_.overlaps.range.; range.offset, .* = 102400, 65536");
}

TEST_F(AskedRangesInvariants, NoMoreIsRemovedThanWasRequested) {
  asked.*private_member(BytesOfAskedRanges()) = 1;
  EXPECT_BROKEN(asked.remove(read(64)), "sent_bytes <= bytes_");
}

}  // namespace
}  // namespace nbdstack
