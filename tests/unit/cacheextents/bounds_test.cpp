// What is remembered has a bound, and what is forgotten for it is asked about again.
#include "tests/unit/cacheextents/cacheextents_fixture.hpp"
#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack::testing {

NBDSTACK_OPEN_MEMBER(AskOfCacheextents, &CacheextentsLayer::ask);

namespace {

class Bounds : public CacheextentsTest {
 protected:
  static constexpr std::uint64_t kRuns = 1024;
  static constexpr std::uint64_t kSize = kRuns * kMiB;
  static constexpr std::size_t kRoom = 64;

  // Every other MiB is data.
  void use_striped_disk(std::size_t max_runs) {
    use_disk(kSize, max_runs);
    for (std::uint64_t i = 0; i < kRuns; i += 2) below->put({i * kMiB, kMiB}, kData);
  }
  static void expect_stripes(const Extents& found) {
    ASSERT_EQ(found.size(), kRuns);
    for (std::uint64_t i = 0; i < kRuns; ++i) {
      ASSERT_EQ(found[i], (Extent{{i * kMiB, kMiB}, i % 2 == 0 ? kData : kHole}));
    }
  }
};

TEST_F(Bounds, MoreRunsThanThereIsRoomForAreAnsweredRight) {
  use_striped_disk(kRoom);
  for (const bool only_one : {false, true, true}) {
    expect_stripes(map({0, kSize}, only_one));
    EXPECT_LE(known->runs(), kRoom);
  }
  EXPECT_TRUE(known->has_forgotten());
}

TEST_F(Bounds, EachReplyAnswersAtLeastHalfOfTheRoom) {
  use_striped_disk(kRoom);
  map({0, kSize}, true);
  EXPECT_LE(questions(), kRuns / (kRoom / 2) + 1);
}

TEST_F(Bounds, ReplyIsNotForgottenForItself) {
  use_striped_disk(kRoom);
  below->cut_replies(kRoom / 2, kSize);
  map({512 * kMiB, kRoom * kMiB});  // no room is left, and nothing forgotten: it would begin at 0
  EXPECT_FALSE(known->has_forgotten());
  map({0, kRoom / 2 * kMiB}, true);
  EXPECT_TRUE(known->has_forgotten());
  EXPECT_EQ(questions(), 3U);
}

TEST_F(Bounds, NothingIsForgottenWhileThereIsRoom) {
  use_striped_disk(2 * kRuns);
  expect_stripes(map({0, kSize}));
  expect_stripes(map({0, kSize}, true));
  EXPECT_EQ(known->runs(), kRuns);
  EXPECT_EQ(questions(), 1U);
  EXPECT_FALSE(known->has_forgotten());
}

TEST_F(Bounds, ScatteredWritesStayWithinTheRoom) {
  use_disk(kSize, kRoom);
  for (std::uint64_t i = 0; i < kRuns; i += 2) {
    write({i * kMiB, 512});
    ASSERT_LE(known->runs(), kRoom);
  }
  for (std::uint64_t i = 0; i < kRuns; i += 2) ASSERT_EQ(type_at(i * kMiB), kData);
}

// The one extent of the reply has more parts than there is room for.
TEST_F(Bounds, ReplyThatIsCutByWritesStaysWithinTheRoom) {
  use_disk(kSize, kRoom);
  bool first = true;
  below->after([&](const Call& call) {
    if (call.op != Op::extents || !std::exchange(first, false)) return;
    for (std::uint64_t i = 0; i < kRuns; i += 2) write({i * kMiB, 512});
  });
  map({0, 1});
  EXPECT_LE(known->runs(), kRoom);
  for (std::uint64_t i = 0; i < kRuns; i += 2) ASSERT_EQ(type_at(i * kMiB), kData);
}

// More than are noted one by one: then all of the question's range counts as disturbed.
TEST_F(Bounds, VeryManyChangesDuringAReplyAreAllHeeded) {
  use_disk(8 * kGiB, 100'000);
  bool first = true;
  below->after([&](const Call& call) {
    if (call.op != Op::extents || !std::exchange(first, false)) return;
    for (std::uint64_t i = 0; i < 3000; ++i) {
      write({i * kMiB, 512});
      trim({i * kMiB, 512});
      below->put({i * kMiB, 512}, kData);  // the trim has done nothing
    }
  });
  map({0, 1});
  map({8 * kGiB - 1, 1});
  EXPECT_EQ(questions(), 2U);
  for (std::uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(type_at(i * kMiB), kData) << i;
}

TEST_F(Bounds, ARequestBehindTheEndIsABrokenInvariant) {
  use_disk(kSize);
  EXPECT_BROKEN(write({kSize - 1, 2}), "range.length <= size_bytes - range.offset");
  EXPECT_BROKEN(zero({kSize, 1}, true), "range.length <=");
  EXPECT_BROKEN(trim({kSize + 1, 1}), "range.offset <=");
  EXPECT_BROKEN(map({kSize, 1}), "range.length <=");
  const auto ask = private_member(AskOfCacheextents());
  EXPECT_BROKEN((layer.get()->*ask)({kSize, 1}, {0, 1}, false), "range.length <=");
}

}  // namespace
}  // namespace nbdstack::testing
