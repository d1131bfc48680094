// What reaches the layer below: one question for much, none for what is known, the client's own
// where that is refused.
#include <thread>

#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

// Data of 4 KiB every MiB.
void scatter_data(TrueExtents& disk, std::uint64_t size_bytes) {
  for (std::uint64_t offset = 0; offset < size_bytes; offset += kMiB) {
    disk.put({offset, 4 * kKiB}, kData);
  }
}

class Asking : public CacheextentsTest {};

TEST_F(Asking, OneQuestionAnswersManyOfOneExtent) {
  use_disk(64 * kMiB);
  scatter_data(*below, 64 * kMiB);
  const Extents found = map({0, 64 * kMiB}, true);
  ASSERT_EQ(found.size(), 128U);
  EXPECT_EQ(found[0], (Extent{{0, 4 * kKiB}, kData}));
  EXPECT_EQ(found[127], (Extent{{63 * kMiB + 4 * kKiB, kMiB - 4 * kKiB}, kHole}));
  EXPECT_EQ(below->asked(), (std::vector<Range>{{0, 64 * kMiB}}));
}

TEST_F(Asking, AnswerIsCutToWhatTheClientAsked) {
  use_disk(kMiB);
  ExtentList answer;
  layer->extents(100, 200, false, answer);
  EXPECT_EQ(answer.all(), (Extents{{{200, 100}, kHole}}));
  ExtentList again;
  layer->extents(100, 250, false, again);
  EXPECT_EQ(again.all(), (Extents{{{250, 100}, kHole}}));
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Asking, OnlyOneExtentIsAnsweredWhereOnlyOneIsWanted) {
  use_disk(64 * kMiB);
  scatter_data(*below, 64 * kMiB);
  for (int round = 0; round < 2; ++round) {  // from the layer below, and from memory
    ExtentList answer;
    layer->extents(64 * kMiB, 0, true, answer);
    EXPECT_EQ(answer.all(), (Extents{{{0, 4 * kKiB}, kData}}));
  }
}

TEST_F(Asking, GapIsAskedAloneInRoundNumbers) {
  use_disk(64 * kMiB);
  map({0, 64 * kMiB});
  trim({kMiB + 100, 1000});
  EXPECT_EQ(type_at(kMiB + 100), kHole);
  ASSERT_EQ(questions(), 2U);
  EXPECT_EQ(below->asked()[1], (Range{kMiB + 100, 64 * kKiB - 100}));
}

TEST_F(Asking, GapsNearEachOtherAreAskedTogether) {
  use_disk(64 * kMiB);
  map({0, 64 * kMiB});
  for (std::uint64_t i = 0; i < 32; ++i) trim({i * kMiB, 64 * kKiB});
  map({0, 64 * kMiB});
  ASSERT_EQ(questions(), 2U);
  EXPECT_EQ(below->asked()[1], (Range{0, 31 * kMiB + 64 * kKiB}));
}

TEST_F(Asking, QuestionEndsWithTheDisk) {
  use_disk(kMiB + 100);
  map({0, 64 * kKiB});
  EXPECT_EQ(below->asked(), (std::vector<Range>{{0, kMiB + 100}}));
}

TEST_F(Asking, LargestDiskOfOneHoleTakesOneQuestion) {
  constexpr std::uint64_t kLargest = (1ULL << 63U) - 1;
  use_disk(kLargest);
  EXPECT_EQ(type_at(0), kHole);
  EXPECT_EQ(type_at(kLargest - 1), kHole);
  write({kLargest - 1, 1});
  EXPECT_EQ(map({0, kLargest}), (Extents{{{0, kLargest - 1}, kHole}, {{kLargest - 1, 1}, kData}}));
  trim({0, kLargest});
  EXPECT_EQ(map({kLargest - 10, 10}), (Extents{{{kLargest - 10, 10}, kHole}}));
  EXPECT_EQ(below->asked(), (std::vector<Range>{{0, kLargest}, {kLargest - 10, 10}}));
  EXPECT_EQ(known->runs(), 1U);
}

TEST_F(Asking, AnswersAreOfBoundedLength) {
  constexpr std::uint64_t kRuns = 3 * KnownExtents::kMostExtents;
  use_disk(kRuns * kKiB, 2 * kRuns);
  for (std::uint64_t i = 0; i < kRuns; i += 2) below->put({i * kKiB, kKiB}, kData);
  EXPECT_EQ(map({0, kRuns * kKiB}).size(), kRuns);
  ExtentList answer;
  layer->extents(kRuns * kKiB, 0, false, answer);
  EXPECT_EQ(answer.all().size(), KnownExtents::kMostExtents);
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Asking, ShortRepliesAreAskedOnFromTheirEnd) {
  use_disk(8 * kMiB);
  scatter_data(*below, 8 * kMiB);
  below->cut_replies(3, kGiB);
  EXPECT_EQ(map({0, 8 * kMiB}).size(), 16U);
  EXPECT_EQ(questions(), 6U);
  EXPECT_EQ(map({0, 8 * kMiB}).size(), 16U);
  EXPECT_EQ(questions(), 6U);
}

TEST_F(Asking, RefusedLongQuestionIsAskedAsTheClientDid) {
  use_disk(64 * kMiB);
  below->put({0, kMiB}, kData);
  below->before([](const Call& call) {
    if (call.range.length > kMiB) throw Error(EINVAL, "too long");
  });
  ExtentList answer;
  layer->extents(kMiB, kMiB / 2, true, answer);
  EXPECT_EQ(answer.all(), (Extents{{{kMiB / 2, kMiB / 2}, kData}}));
  below->before(nullptr);
  EXPECT_EQ(type_at(kMiB / 2), kData);  // known
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Asking, FailureOfTheClientsOwnQuestionIsPassedOn) {
  use_disk(64 * kMiB);
  std::size_t failed = 0;
  below->before([&](const Call&) {
    ++failed;
    throw Error(EIO, "told to fail");
  });
  ExtentList answer;
  EXPECT_EQ(error_of([&] { layer->extents(kMiB, 0, true, answer); }), EIO);
  EXPECT_EQ(failed, 2U);
  EXPECT_EQ(error_of([&] { layer->extents(64 * kMiB, 0, false, answer); }), EIO);
  EXPECT_EQ(failed, 3U);  // it was the client's own already
  EXPECT_TRUE(answer.empty());
  below->before(nullptr);
  EXPECT_EQ(type_at(0), kHole);
}

TEST_F(Asking, QuestionUnderWayIsWaitedForAndNotAskedAgain) {
  use_disk(64 * kMiB);
  scatter_data(*below, 64 * kMiB);
  Gate gate;
  below->after([&](const Call&) { gate.pass(); });
  std::vector<std::thread> clients;
  clients.emplace_back([&] { EXPECT_EQ(type_at(0), kData); });
  gate.wait_for_arrivals(1);
  for (std::uint64_t i = 1; i < 4; ++i) {
    clients.emplace_back([&, i] { EXPECT_EQ(type_at(i * kMiB), kData); });
  }
  while (known->waiting() < 3) std::this_thread::yield();
  gate.open();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Asking, WhoWaitedForAFailureAsksForItself) {
  use_disk(64 * kMiB);
  Gate gate;
  below->after([&](const Call& call) {
    if (call.range.offset != 0) return;
    gate.pass();
    throw Error(EIO, "told to fail");
  });
  std::thread first([&] { EXPECT_EQ(error_of([&] { map({0, kMiB}); }), EIO); });
  gate.wait_for_arrivals(1);
  std::thread second([&] { EXPECT_EQ(type_at(kMiB), kHole); });
  while (known->waiting() < 1) std::this_thread::yield();
  gate.open();
  first.join();
  second.join();
}

TEST_F(Asking, QuestionFarAheadIsNotWaitedFor) {
  use_disk(16 * kGiB);
  below->cut_replies(1000, KnownExtents::kAskedAhead);
  Gate gate;
  below->after([&](const Call& call) {
    if (call.range.offset == 0) gate.pass();
  });
  std::thread first([&] { EXPECT_EQ(type_at(0), kHole); });
  gate.wait_for_arrivals(1);
  EXPECT_EQ(type_at(8 * kGiB), kHole);
  gate.open();
  first.join();
  EXPECT_EQ(questions(), 2U);
}

TEST_F(Asking, TwoExportsAreApart) {
  use_disk(kMiB);
  TrueExtents other_below(kMiB);
  other_below.put({0, kMiB}, kData);
  CacheextentsLayer other(other_below, std::make_shared<CacheextentsState>(1000, kMiB));
  EXPECT_EQ(type_at(0), kHole);
  ExtentList answer;
  other.extents(kMiB, 0, false, answer);
  EXPECT_EQ(answer.all(), (Extents{{{0, kMiB}, kData}}));
  EXPECT_EQ(type_at(0), kHole);
}

TEST_F(Asking, ConnectionsToAnExportShareWhatIsKnown) {
  use_disk(kMiB);
  TrueExtents other_below(kMiB);  // another connection to the layer below
  CacheextentsLayer other(other_below, shared);
  EXPECT_EQ(type_at(0), kHole);
  other.pwrite(std::vector<std::byte>(512), 1024, Durability::on_flush);
  EXPECT_EQ(type_at(1024), kData);
  EXPECT_TRUE(other_below.asked().empty());
}

}  // namespace
}  // namespace nbdstack::testing
