// What is asked for by all streams of an export together.
#include "filters/readahead/planner.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/unit/fakes/sizes.hpp"

namespace nbdstack {
namespace {

using testing::kGiB;
using testing::kKiB;
using testing::kMiB;

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kPlannedRead = 128 * kKiB;

PlannerOptions options_of(std::uint64_t disk_size_bytes = 64 * kGiB, unsigned streams = 8) {
  return {.disk_size_bytes = disk_size_bytes, .streams = streams, .window = {}};
}

class PlannerTest : public ::testing::Test {
 protected:
  // A read from beginning to end; what it makes the planner ask for.
  std::vector<Range> read(std::uint64_t offset, std::uint64_t length = kPlannedRead) {
    const Range range{offset, length};
    std::vector<Range> pieces = planner.read_begins(range);
    planner.read_ends(range);
    for (const Range& piece : pieces) asked_bytes += piece.length;
    return pieces;
  }
  // `count` reads in sequence, whose pieces are fetched at once; where the next one would begin.
  std::uint64_t read_on(std::uint64_t offset, unsigned count) {
    for (unsigned i = 0; i < count; ++i) {
      for (const Range& piece : read(offset)) planner.fetch_begins(piece);
      offset += kPlannedRead;
    }
    return offset;
  }

  Planner planner{options_of()};
  std::uint64_t asked_bytes = 0;
};

TEST_F(PlannerTest, NothingIsAskedForBeforeThreeReadsInSequence) {
  EXPECT_THAT(read(0), IsEmpty());
  EXPECT_THAT(read(kPlannedRead), IsEmpty());
  EXPECT_THAT(read(2 * kPlannedRead), ElementsAre(Range{3 * kPlannedRead, kPlannedRead}));
}

TEST_F(PlannerTest, RandomReadsCostNothing) {
  std::mt19937_64 random(1);
  for (unsigned i = 0; i < 10000; ++i) read(random() % (64 * kGiB / kPlannedRead) * kPlannedRead);
  EXPECT_EQ(asked_bytes, 0U);
  EXPECT_EQ(planner.stream_count(), 0U);
}

TEST_F(PlannerTest, PiecesAreCutAtMultiplesOfTheLargest) {
  std::uint64_t offset = read_on(0, 7);
  bool several = false;
  for (unsigned i = 0; i < 1000; ++i, offset += kPlannedRead) {
    const std::vector<Range> pieces = read(offset);
    several = several || pieces.size() > 2;
    for (const Range& piece : pieces) {
      EXPECT_EQ(piece.offset / kMiB, (piece.end() - 1) / kMiB);
      planner.fetch_begins(piece);
    }
  }
  EXPECT_TRUE(several);
}

TEST_F(PlannerTest, NothingIsAskedForTwice) {
  RunMap<bool> asked;
  std::uint64_t offset = 0;
  for (unsigned i = 0; i < 2000; ++i, offset += kPlannedRead) {
    for (const Range& piece : read(offset)) {
      EXPECT_FALSE(asked.overlaps(piece)) << piece.offset;
      EXPECT_GT(piece.offset, offset);
      asked.assign(piece, true);
      EXPECT_THAT(planner.fetch_begins(piece), ElementsAre(piece));
      EXPECT_THAT(planner.fetch_begins(piece), IsEmpty());
    }
  }
}

// Two who read the same at the same time.
TEST_F(PlannerTest, StreamsSideBySideDoNotAskForTheSame) {
  RunMap<bool> asked;
  for (std::uint64_t offset = 0; offset < 64 * kMiB; offset += kPlannedRead) {
    for (unsigned reader = 0; reader < 2; ++reader) {
      for (const Range& piece : read(offset)) {
        EXPECT_FALSE(asked.overlaps(piece)) << piece.offset;
        asked.assign(piece, true);
        planner.fetch_begins(piece);
      }
    }
  }
}

TEST_F(PlannerTest, WhatReadsAreUnderWayForIsNotAskedFor) {
  const Range ahead{3 * kPlannedRead + kPlannedRead / 2, kPlannedRead / 2};
  planner.read_begins(ahead);
  read(0);
  read(kPlannedRead);
  EXPECT_THAT(read(2 * kPlannedRead), ElementsAre(Range{3 * kPlannedRead, kPlannedRead / 2}));
}

TEST_F(PlannerTest, QueuedPiecesThatAReadOvertakesAreNotFetched) {
  read_on(0, 2);
  const std::vector<Range> pieces = read(2 * kPlannedRead);
  ASSERT_THAT(pieces, ElementsAre(Range{3 * kPlannedRead, kPlannedRead}));
  const std::uint64_t left = planner.allowance_left_bytes();
  read(3 * kPlannedRead, kPlannedRead / 2);
  EXPECT_GE(planner.allowance_left_bytes() + kMiB, left + kPlannedRead / 2);
  EXPECT_THAT(planner.fetch_begins(pieces[0]),
              ElementsAre(Range{3 * kPlannedRead + kPlannedRead / 2, kPlannedRead / 2}));
}

TEST_F(PlannerTest, DroppedPiecesCostNothing) {
  read_on(0, 2);
  const std::uint64_t left = planner.allowance_left_bytes();
  const std::vector<Range> pieces = read(2 * kPlannedRead);
  EXPECT_EQ(planner.allowance_left_bytes(), left - kPlannedRead);
  planner.fetch_dropped(pieces.at(0));
  EXPECT_EQ(planner.allowance_left_bytes(), left);
  EXPECT_THAT(planner.fetch_begins(pieces.at(0)), IsEmpty());
}

// Over a layer that fails, attempts become rare by themselves.
TEST_F(PlannerTest, FailuresAreForgottenAndSpent) {
  std::uint64_t attempts = 0;
  for (std::uint64_t offset = 0; offset < 256 * kMiB; offset += kPlannedRead) {
    for (const Range& piece : read(offset)) {
      ++attempts;
      for (const Range& part : planner.fetch_begins(piece)) planner.fetch_failed(part);
    }
  }
  EXPECT_EQ(planner.asked_runs(), 0U);
  EXPECT_LE(asked_bytes, 2 * kMiB + 256 * kMiB / 16);
  EXPECT_GT(attempts, 8U);
}

TEST_F(PlannerTest, WindowsGrowAgainWhenTheLayerBelowHasRecovered) {
  std::uint64_t offset = 0;
  for (; offset < 16 * kMiB; offset += kPlannedRead) {
    for (const Range& piece : read(offset)) planner.fetch_failed(piece);
  }
  const std::uint64_t asked_before = asked_bytes;
  read_on(offset, 2048);
  EXPECT_GT(asked_bytes - asked_before, 240 * kMiB);
}

TEST_F(PlannerTest, TheStreamReadLongestAgoMakesRoom) {
  for (std::uint64_t s = 0; s < 8; ++s) read_on(s * kGiB, 3);
  EXPECT_EQ(planner.stream_count(), 8U);
  read(3 * kPlannedRead);  // the first is the last read now
  read_on(8 * kGiB, 3);
  EXPECT_EQ(planner.stream_count(), 8U);
  // Only the reads of streams earn anything.
  const std::uint64_t left = planner.allowance_left_bytes();
  read(kGiB + 3 * kPlannedRead, 512);
  EXPECT_EQ(planner.allowance_left_bytes(), left);
  read(4 * kPlannedRead, 512);
  EXPECT_GT(planner.allowance_left_bytes(), left);
}

TEST_F(PlannerTest, WhatAStreamLeavesBehindIsForgottenAndLost) {
  const std::uint64_t at_first = planner.allowance_left_bytes();
  for (std::uint64_t s = 0; s < 100; ++s) read_on(s * 128 * kMiB, 3);
  EXPECT_LE(planner.asked_runs(), 8U);
  // Each has lost its window, until only that was left which is kept for who reads on.
  EXPECT_GE(planner.allowance_left_bytes(), at_first / 2);
  EXPECT_LT(planner.allowance_left_bytes(), at_first / 2 + kPlannedRead);
  EXPECT_LE(asked_bytes, at_first / 2 + 300 * kPlannedRead / 16);
}

TEST_F(PlannerTest, WhoReadsOnFindsWhatGuessesHaveLeft) {
  for (std::uint64_t s = 0; s < 100; ++s) read_on(s * 128 * kMiB, 3);
  const std::uint64_t fourth = read_on(12800 * kMiB, 3);
  EXPECT_THAT(read(fourth), IsEmpty());
  const std::uint64_t fifth = fourth + kPlannedRead;
  EXPECT_THAT(read(fifth), ElementsAre(Range{fifth + kPlannedRead, kPlannedRead}));
}

// So that one is fetched while the other is read.
TEST_F(PlannerTest, EveryStreamIsTwoWindowsAheadFromTheBeginning) {
  std::vector<std::uint64_t> asked_to(8);
  for (unsigned i = 0; i < 16; ++i) {
    for (unsigned s = 0; s < 8; ++s) {
      const std::uint64_t offset = s * kGiB + i * kPlannedRead;
      for (const Range& piece : read(offset)) {
        planner.fetch_begins(piece);
        asked_to[s] = piece.end();
      }
      // Three reads prove the stream, and it is a guess for one more.
      const std::uint64_t windows = i < 2 ? 0 : i < 4 ? 1 : 2;
      if (windows > 0) {
        EXPECT_GE(asked_to[s], offset + (1 + windows) * kPlannedRead) << i << ' ' << s;
      }
    }
  }
}

// Whatever is read in whatever order, no more is fetched than the allowance says.
TEST_F(PlannerTest, TheAllowanceHoldsForReadersWithoutSense) {
  std::mt19937_64 random(7);
  std::uint64_t read_bytes = 0;
  std::uint64_t fetched_bytes = 0;
  std::uint64_t offset = 0;
  for (unsigned i = 0; i < 50000; ++i) {
    switch (random() % 8) {
      case 0:
        offset = random() % (4 * kGiB / kPlannedRead) * kPlannedRead;
        break;
      case 1:
        offset += random() % 8 * kPlannedRead;
        break;
      case 2:
        offset -= std::min(offset, random() % 8 * kPlannedRead);
        break;
      default:
        break;
    }
    const Range range{offset, kPlannedRead};
    for (const Range& piece : planner.read_begins(range)) {
      for (const Range& part : planner.fetch_begins(piece)) {
        fetched_bytes += part.length;
        if (random() % 16 == 0) planner.fetch_failed(part);
      }
    }
    planner.read_ends(range);
    read_bytes += kPlannedRead;
    offset += kPlannedRead;
    ASSERT_LE(fetched_bytes, read_bytes + 2 * kMiB + read_bytes / 16);
  }
  EXPECT_LE(planner.asked_runs(), 8U * 32);
}

TEST_F(PlannerTest, OneStreamAmongSeveralDoesNotTakeAll) {
  std::vector<std::uint64_t> asked(8);
  for (unsigned i = 0; i < 256; ++i) {
    for (unsigned s = 0; s < 8; ++s) {
      for (const Range& piece : read(s * kGiB + i * kPlannedRead)) {
        asked[s] += piece.length;
        planner.fetch_begins(piece);
      }
    }
  }
  const auto [least, most] = std::minmax_element(asked.begin(), asked.end());
  EXPECT_LE(*most, *least + *least / 4);
}

TEST(Planner, StreamsEndWithTheDisk) {
  constexpr std::uint64_t kSize = 10 * kPlannedRead + 1000;
  Planner planner(options_of(kSize));
  std::uint64_t end = 0;
  for (std::uint64_t offset = 0; offset < kSize; offset += kPlannedRead) {
    for (const Range& piece :
         planner.read_begins({offset, std::min(kPlannedRead, kSize - offset)})) {
      planner.fetch_begins(piece);
      end = piece.end();
    }
  }
  EXPECT_EQ(end, kSize);
  EXPECT_EQ(planner.asked_runs(), 0U);
}

TEST(Planner, TheEndOfTheLargestDiskIsNothingSpecial) {
  constexpr std::uint64_t kSize = kAddressSpaceEnd - 1;
  Planner planner(options_of(kSize));
  constexpr std::uint64_t kFirst = kSize - 5 * kPlannedRead;
  planner.read_begins({kFirst, kPlannedRead});
  planner.read_begins({kFirst + kPlannedRead, kPlannedRead});
  EXPECT_THAT(planner.read_begins({kFirst + 2 * kPlannedRead, kPlannedRead}),
              ElementsAre(Range{kSize - 2 * kPlannedRead, kPlannedRead}));
  EXPECT_THAT(planner.read_begins({kFirst + 3 * kPlannedRead, kPlannedRead}),
              ElementsAre(Range{kSize - kPlannedRead, kPlannedRead}));
  EXPECT_THAT(planner.read_begins({kFirst + 4 * kPlannedRead, kPlannedRead}), IsEmpty());
}

}  // namespace
}  // namespace nbdstack
