#include "common/block/extent_scan.hpp"

#include "tests/unit/cacheextents/cacheextents_fixture.hpp"

namespace nbdstack::testing {
namespace {

class Walk : public CacheextentsTest {
 protected:
  // What 16 GiB take.
  static constexpr std::size_t kQuestions = 16 * kGiB / KnownExtents::kAskedAhead + 1;

  void start() {
    shared->start_scan("x", [this] { return std::make_unique<Connection>(*below); });
  }
  void walk_to_the_end() {
    start();
    shared->scan->wait();
    shared->scan.reset();
  }
  void stripe(std::uint64_t step) {
    const std::uint64_t size = below->traits().size_bytes;
    for (std::uint64_t at = 0; at + step / 2 < size; at += step) below->put({at, step / 2}, kData);
  }
};

TEST_F(Walk, LeavesNothingToAsk) {
  use_disk(16 * kGiB);
  stripe(64 * kMiB);
  below->cut_replies(10'000, KnownExtents::kAskedAhead);
  walk_to_the_end();
  EXPECT_EQ(questions(), kQuestions);
  EXPECT_EQ(map({0, 16 * kGiB}).size(), 512U);
  EXPECT_EQ(questions(), kQuestions);
}

TEST_F(Walk, AsksOnlyForWhatIsNotKnown) {
  use_disk(16 * kGiB);
  write({0, kMiB});
  below->cut_replies(10'000, KnownExtents::kAskedAhead);
  map({4 * kGiB, 1});
  walk_to_the_end();
  for (const Range& range : below->asked()) EXPECT_NE(range.offset, 0U);
  EXPECT_EQ(type_at(0), kData);
  EXPECT_EQ(questions(), kQuestions);
}

TEST_F(Walk, LeavesNothingToAskBehindRepliesOfAnyLength) {
  for (const std::uint64_t length : {std::uint64_t{1000}, 100 * kKiB}) {
    use_disk(4 * kMiB + 100);
    stripe(kMiB);
    below->cut_replies(2, length);
    walk_to_the_end();
    const std::size_t asked = questions();
    EXPECT_EQ(map({0, 4 * kMiB + 100}).size(), 8U);
    EXPECT_EQ(questions(), asked);
  }
}

// The layer below refuses smaller blocks, and tells of them all the same.
TEST_F(Walk, QuestionsBeginAtMultiplesOfTheSmallestBlock) {
  constexpr std::uint64_t kBlock = 64 * kKiB;
  for (const std::uint64_t length : {std::uint64_t{1}, 100 * kKiB}) {
    use_disk(4 * kMiB);
    below->change_traits().minimum_block_size = kBlock;
    below->cut_replies(1, length);
    walk_to_the_end();
    for (const Range& range : below->asked()) EXPECT_EQ(range.offset % kBlock, 0U);
    EXPECT_EQ(map({4 * kMiB - kBlock, 1}).front().type, kHole);
  }
}

TEST_F(Walk, EndsWhenThereIsNoRoomForMore) {
  use_disk(64 * kGiB, 32);
  stripe(64 * kMiB);
  below->cut_replies(10'000, KnownExtents::kAskedAhead);
  walk_to_the_end();
  EXPECT_LT(questions(), 8U);
  EXPECT_LE(known->runs(), 32U);
  EXPECT_EQ(type_at(0), kData);
}

TEST_F(Walk, FailureEndsItAndNothingElse) {
  use_disk(16 * kGiB);
  below->cut_replies(10'000, KnownExtents::kAskedAhead);
  below->before([](const Call& call) {
    if (call.range.offset != 0) throw Error(EIO, "told to fail");
  });
  walk_to_the_end();
  EXPECT_EQ(questions(), 1U);
  below->before(nullptr);
  EXPECT_EQ(type_at(0), kHole);
  EXPECT_EQ(questions(), 1U);
  EXPECT_EQ(type_at(8 * kGiB), kHole);
}

TEST_F(Walk, FailureToOpenIsForgotten) {
  use_disk(kGiB);
  shared->start_scan("x", []() -> std::unique_ptr<Layer> { throw Error(EIO, "told to fail"); });
  shared->scan->wait();
  EXPECT_EQ(type_at(0), kHole);
}

TEST_F(Walk, StoppingWaitsForOneQuestionAtMost) {
  use_disk(64 * kGiB);
  below->cut_replies(10'000, KnownExtents::kAskedAhead);
  Gate gate;
  below->after([&](const Call&) { gate.pass(); });
  start();
  gate.wait_for_arrivals(1);
  shared->scan->request_stop();
  gate.open();
  shared->scan.reset();
  EXPECT_EQ(questions(), 1U);
}

TEST_F(Walk, ClientWaitsForTheWalksQuestionInsteadOfAsking) {
  use_disk(kGiB);
  Gate gate;
  below->after([&](const Call&) { gate.pass(); });
  start();
  gate.wait_for_arrivals(1);
  std::thread client([&] { EXPECT_EQ(type_at(kMiB), kHole); });
  while (known->waiting() < 1) std::this_thread::yield();
  gate.open();
  client.join();
  shared->scan->wait();
  EXPECT_EQ(questions(), 1U);
}

}  // namespace
}  // namespace nbdstack::testing
