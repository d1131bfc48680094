// What proves a stream, and what does not.
#include "filters/readahead/recent_reads.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace {

using testing::kGiB;

constexpr std::uint64_t kRecentRead = 128 << 10U;
constexpr std::size_t kStreams = 8;

Range block(std::uint64_t number) {
  return {number * kRecentRead, kRecentRead};
}

// The pattern that the last of these blocks proves; those before prove none.
std::optional<AccessPattern> last_of(RecentReads& reads, const std::vector<std::uint64_t>& blocks) {
  std::optional<AccessPattern> pattern;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    pattern = reads.add(block(blocks[i]));
    if (i + 1 < blocks.size()) {
      EXPECT_FALSE(pattern) << "block " << blocks[i];
    }
  }
  return pattern;
}

std::optional<AccessPattern> last_of(const std::vector<std::uint64_t>& blocks) {
  RecentReads reads(kStreams);
  return last_of(reads, blocks);
}

AccessPattern forward(std::uint64_t next_block) {
  return {.direction = Direction::forward, .next = next_block * kRecentRead};
}

AccessPattern backward(std::uint64_t lowest_block) {
  return {.direction = Direction::backward, .next = kAddressSpaceEnd - lowest_block * kRecentRead};
}

TEST(RecentReads, ThreeReadsInOrderAreAStream) {
  EXPECT_EQ(last_of({10, 11, 12}), forward(13));
  EXPECT_EQ(last_of({12, 11, 10}), backward(10));
}

TEST(RecentReads, ThreeReadsInOrderAreAStreamBesideAnother) {
  EXPECT_EQ(last_of({10, 100, 11, 101, 12}), forward(13));
}

TEST(RecentReads, ThreeReadsInRhythmAreAStreamBesideAnyNumberOfOthers) {
  EXPECT_EQ(last_of({10, 100, 300, 500, 11, 207, 301, 909, 12}), forward(13));
  EXPECT_EQ(last_of({12, 100, 300, 500, 11, 207, 301, 909, 10}), backward(10));
  EXPECT_EQ(last_of({10, 100, 300, 500, 11, 207, 301, 909, 700, 12}), forward(13));
}

TEST(RecentReads, ReadsOutOfRhythmHaveToBeFour) {
  EXPECT_EQ(last_of({10, 100, 11, 300, 207, 909, 12, 13}), forward(14));
  EXPECT_EQ(last_of({10, 11, 300, 207, 909, 12, 13}), forward(14));
  EXPECT_EQ(last_of({13, 100, 12, 300, 207, 909, 11, 10}), backward(10));
}

TEST(RecentReads, PairsThatContradictEachOtherAreNotInRhythm) {
  EXPECT_FALSE(last_of({11, 300, 10, 500, 12}));
  EXPECT_FALSE(last_of({10, 300, 12, 500, 11}));
}

TEST(RecentReads, TwoReadsAreNone) {
  EXPECT_FALSE(last_of({10, 11}));
  EXPECT_FALSE(last_of({11, 10}));
}

TEST(RecentReads, ReadsOfDifferentLengthsAreAStream) {
  RecentReads reads(kStreams);
  EXPECT_FALSE(reads.add({0, 4096}));
  EXPECT_FALSE(reads.add({4096, 65536}));
  EXPECT_EQ(reads.add({69632, 512}), (AccessPattern{.next = 70144}));
}

TEST(RecentReads, OvertakenReadsAreAStreamWhenTheOrderIsPlain) {
  EXPECT_EQ(last_of({10, 12, 11, 13, 14}), forward(15));
  EXPECT_EQ(last_of({11, 10, 13, 12, 14, 15, 16}), forward(17));
  EXPECT_EQ(last_of({20, 18, 19, 17, 16}), backward(16));
}

TEST(RecentReads, ReadsInNoOrderAreNone) {
  EXPECT_FALSE(last_of({10, 12, 11}));
  EXPECT_FALSE(last_of({12, 10, 11}));
  EXPECT_FALSE(last_of({11, 13, 10, 12}));
}

TEST(RecentReads, SmallGapsAndOverlapsAreTolerated) {
  RecentReads reads(kStreams);
  EXPECT_FALSE(reads.add({0, kRecentRead}));
  EXPECT_FALSE(reads.add({kRecentRead + kRecentRead / 4, kRecentRead}));
  EXPECT_TRUE(reads.add({2 * kRecentRead, kRecentRead}));
}

TEST(RecentReads, GapsOfAReadAreNotASequence) {
  EXPECT_FALSE(last_of({0, 2, 5, 7, 10}));
}

TEST(RecentReads, FiveReadsAtEqualDistancesAreAStream) {
  const AccessPattern up{.next = 40 * kRecentRead, .step = 8 * kRecentRead, .length = kRecentRead};
  EXPECT_EQ(last_of({0, 8, 16, 24, 32}), up);
  const AccessPattern down{.direction = Direction::backward,
                           .next = along(Direction::backward, block(0)).offset + 2 * kRecentRead,
                           .step = 2 * kRecentRead,
                           .length = kRecentRead};
  EXPECT_EQ(last_of({8, 6, 4, 2, 0}), down);
}

TEST(RecentReads, FourAtEqualDistancesOrFiveOutOfOrderAreNone) {
  EXPECT_FALSE(last_of({0, 8, 16, 24}));
  EXPECT_FALSE(last_of({0, 16, 8, 24, 32}));
}

TEST(RecentReads, DistancesThatAreTooLongAreNoStride) {
  EXPECT_FALSE(last_of({0, 1000, 2000, 3000, 4000, 5000}));
}

TEST(RecentReads, StreamsInTurnAreFoundEach) {
  RecentReads reads(kStreams);
  unsigned found = 0;
  for (unsigned i = 0; i < 3; ++i) {
    for (unsigned s = 0; s < kStreams; ++s) found += reads.add(block(s * 1000 + i)) ? 1 : 0;
  }
  EXPECT_EQ(found, kStreams);
}

TEST(RecentReads, StridesInTurnAreFoundEach) {
  RecentReads reads(kStreams);
  unsigned found = 0;
  for (unsigned i = 0; i < 5; ++i) {
    for (unsigned s = 0; s < kStreams; ++s) found += reads.add(block(s * 1000 + 4 * i)) ? 1 : 0;
  }
  EXPECT_EQ(found, kStreams);
}

TEST(RecentReads, ReadsLongAgoAreForgotten) {
  RecentReads reads(kStreams);
  EXPECT_FALSE(last_of(reads, {10, 11}));
  for (unsigned i = 0; i < 40; ++i) EXPECT_FALSE(reads.add(block(1000 + 7 * i * i)));
  EXPECT_FALSE(reads.add(block(12)));
}

TEST(RecentReads, TheReadsOfAStreamProveNoSecondOne) {
  RecentReads reads(kStreams);
  EXPECT_TRUE(last_of(reads, {10, 11, 12}));
  EXPECT_FALSE(reads.add(block(13)));
  EXPECT_FALSE(reads.add(block(9)));
}

TEST(RecentReads, RandomReadsOfALargeDiskAreNoStream) {
  RecentReads reads(kStreams);
  std::mt19937_64 random(1);
  unsigned found = 0;
  for (unsigned i = 0; i < 10000; ++i) {
    found += reads.add(block(random() % (64 * kGiB / kRecentRead))) ? 1 : 0;
  }
  EXPECT_EQ(found, 0U);
}

// Where the memory of the last reads covers a good part of what is read at all, chance shows.
TEST(RecentReads, RandomReadsOfASmallAreaAreHardlyEverAStream) {
  RecentReads reads(kStreams);
  std::mt19937_64 random(1);
  unsigned found = 0;
  for (unsigned i = 0; i < 10000; ++i) found += reads.add(block(random() % 512)) ? 1 : 0;
  EXPECT_LT(found, 100U);
}

TEST(RecentReads, TheEndsOfTheLargestDiskAreNothingSpecial) {
  constexpr std::uint64_t kEnd = kAddressSpaceEnd - 1;
  RecentReads reads(kStreams);
  EXPECT_FALSE(reads.add({kEnd - 3 * kRecentRead, kRecentRead}));
  EXPECT_FALSE(reads.add({kEnd - 2 * kRecentRead, kRecentRead}));
  EXPECT_EQ(reads.add({kEnd - kRecentRead, kRecentRead}), (AccessPattern{.next = kEnd}));
}

}  // namespace
}  // namespace nbdstack
