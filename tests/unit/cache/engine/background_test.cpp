// What nobody waits for, with the time that the test says it is.
#include "tests/unit/cache/engine/cache_fixture.hpp"

namespace nbdstack::testing {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

class CacheBackground : public CacheTest {
 protected:
  static constexpr TimePoint kStart{hours(1000)};
  static constexpr Duration kDelay = seconds(8);
  static constexpr Duration kTick = kDelay / 8;  // the step that the cache asks for

  static TimePoint at(Duration elapsed) { return kStart + elapsed; }
  TimePoint step(Duration elapsed) { return cache().background().step(below, at(elapsed)); }
  // All steps up to a time, as the cache asks for them.
  void run(Duration from, Duration until) {
    for (Duration now = from; now <= until;) {
      const Duration next = step(now) - kStart;
      ASSERT_GT(next, now);
      now = next;
    }
  }
  std::size_t writes() const { return below.calls(Op::pwrite).size(); }
  static std::vector<std::byte> data(unsigned seed) { return pattern(kBlock, seed); }
};

TEST_F(CacheBackground, HasNothingToDoByDefault) {
  EXPECT_FALSE(cache().background().is_needed());
  write(data(1), 0);
  EXPECT_GE(step(seconds(0)), at(hours(1)));
  EXPECT_TRUE(below.calls().empty());
}

TEST_F(CacheBackground, ABlockIsNotWrittenBeforeTheDelayAndWrittenSoonAfterIt) {
  settings.write_delay = kDelay;
  EXPECT_TRUE(cache().background().is_needed());
  run(seconds(0), seconds(2));
  write(data(1), 0);
  run(seconds(3), seconds(2) + kDelay);
  EXPECT_EQ(writes(), 0U);
  run(seconds(3) + kDelay, seconds(3) + kDelay + kTick);
  EXPECT_EQ(below.calls(Op::pwrite), (std::vector<Call>{{Op::pwrite, block(0)}}));
  EXPECT_EQ(below.content(block(0)), data(1));
  EXPECT_FALSE(cache().has_unwritten());
  run(seconds(30), seconds(60));
  EXPECT_EQ(writes(), 1U);
}

TEST_F(CacheBackground, TheOldestGoFirst) {
  settings.write_delay = kDelay;
  step(seconds(0));
  write(data(1), block(7).offset);
  run(seconds(1), seconds(4));
  write(data(2), block(3).offset);
  run(seconds(5), seconds(10));
  EXPECT_EQ(below.calls(Op::pwrite), (std::vector<Call>{{Op::pwrite, block(7)}}));
  run(seconds(11), seconds(14));
  EXPECT_EQ(writes(), 2U);
}

TEST_F(CacheBackground, NeighboursOfOneAgeAreOneRequest) {
  settings.write_delay = kDelay;
  step(seconds(0));
  for (const int number : {5, 4, 3}) write(data(1), block(number).offset);
  run(seconds(1), seconds(10));
  EXPECT_EQ(below.calls(Op::pwrite), (std::vector<Call>{{Op::pwrite, block(3, 3)}}));
}

TEST_F(CacheBackground, WhatAFlushHasWrittenIsNotWrittenAgain) {
  settings.write_delay = kDelay;
  step(seconds(0));
  write(data(1), 0);
  layer().flush();
  run(seconds(1), seconds(20));
  EXPECT_EQ(writes(), 1U);
}

TEST_F(CacheBackground, ABlockThatBecomesDirtyAgainWaitsAgain) {
  settings.write_delay = kDelay;
  step(seconds(0));
  write(data(1), 0);
  run(seconds(1), seconds(6));
  layer().flush();
  write(data(2), 0);
  run(seconds(7), seconds(6) + kDelay);
  EXPECT_EQ(writes(), 1U);
  run(seconds(15), seconds(17));
  EXPECT_EQ(writes(), 2U);
}

TEST_F(CacheBackground, ZerosAreDelayedAlike) {
  settings.write_delay = kDelay;
  step(seconds(0));
  layer().zero(4 * kBlock, 0, {});
  run(seconds(1), kDelay);
  EXPECT_TRUE(below.calls().empty());
  run(kDelay + kTick, kDelay + 2 * kTick);
  EXPECT_EQ(below.calls(Op::zero), (std::vector<Call>{{Op::zero, block(0, 4)}}));
  EXPECT_FALSE(cache().has_unwritten());
}

TEST_F(CacheBackground, TheNextStepComesAnEighthLater) {
  settings.write_delay = kDelay;
  EXPECT_EQ(step(seconds(0)), at(kTick));
}

TEST_F(CacheBackground, AShortDelayDoesNotMakeStepsWithoutEnd) {
  settings.write_delay = milliseconds(2);
  EXPECT_EQ(step(seconds(0)), at(milliseconds(1)));
}

// --- Failures ---

class CacheBackgroundFailure : public CacheBackground {
 protected:
  void SetUp() override {
    settings.write_delay = kDelay;
    step(seconds(0));
    write(data(1), 0);
    run(seconds(1), kDelay);
  }
};

TEST_F(CacheBackgroundFailure, IsTriedAgainAfterAGrowingDelayWithABound) {
  fail(Op::pwrite, EIO);
  std::vector<Duration> tried;
  Duration now = kDelay + kTick;
  while (tried.size() < 10) {
    const std::size_t before = writes();
    const Duration next = step(now) - kStart;
    ASSERT_GT(next, now);
    if (writes() != before) tried.push_back(now);
    now = next;
  }
  std::vector<long> delays;
  for (std::size_t i = 1; i < tried.size(); ++i) {
    delays.push_back(std::chrono::duration_cast<seconds>(tried[i] - tried[i - 1]).count());
  }
  EXPECT_EQ(delays, (std::vector<long>{1, 2, 4, 8, 16, 32, 60, 60, 60}));
}

TEST_F(CacheBackgroundFailure, IsReportedByTheNextFlushAndCuredWhenTheLayerWorks) {
  fail(Op::pwrite, ENOSPC);
  run(kDelay + kTick, seconds(12));
  EXPECT_GE(writes(), 1U);
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  EXPECT_EQ(read(block(0)), data(1));
  EXPECT_EQ(code_of([&] { layer().flush(); }), ENOSPC);
  const auto cache_of_all = std::shared_ptr<BlockCache>(&cache(), [](BlockCache*) {});
  CacheLayer other(below, cache_of_all, settings);
  EXPECT_EQ(code_of([&] { other.flush(); }), ENOSPC);
  let_all_pass();
  other.flush();
  EXPECT_EQ(below.content(block(0)), data(1));
  EXPECT_EQ(code_of([&] { layer().flush(); }), 0);
}

TEST_F(CacheBackgroundFailure, IsReportedByFuaToo) {
  fail(Op::pwrite, ENOSPC);
  run(kDelay + kTick, seconds(12));
  EXPECT_EQ(code_of([&] { write(data(2), 0, Durability::fua); }), ENOSPC);
  let_all_pass();
  write(data(3), 0, Durability::fua);
  EXPECT_EQ(below.content(block(0)), data(3));
}

TEST_F(CacheBackgroundFailure, IsCuredByTheBackgroundItself) {
  fail(Op::pwrite, EIO);
  run(kDelay + kTick, seconds(100));
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  let_all_pass();
  run(seconds(101), seconds(170));
  EXPECT_EQ(below.content(block(0)), data(1));
  EXPECT_FALSE(cache().has_unwritten());
  EXPECT_EQ(step(seconds(200)), at(seconds(200) + kTick));
}

TEST_F(CacheBackgroundFailure, TakesUpTheRhythmAgainWhenAClientHasCuredIt) {
  fail(Op::pwrite, EIO);
  step(kDelay + kTick);
  let_all_pass();
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);  // it is told, although all is well again
  layer().flush();
  EXPECT_EQ(step(seconds(20)), at(seconds(20) + kTick));
  EXPECT_EQ(step(seconds(21)), at(seconds(21) + kTick));
}

TEST_F(CacheBackgroundFailure, ALayerThatCouldNotBeOpenedIsTriedAgainAndForgottenWhenItOpens) {
  layer().flush();
  const Error error(ENOTCONN, "as the test wants it");
  EXPECT_EQ(cache().background().could_not_open(at(seconds(20)), error), at(seconds(21)));
  // An eighth of the delay comes before the two seconds that the second failure asks for.
  EXPECT_EQ(cache().background().could_not_open(at(seconds(21)), error), at(seconds(22)));
  step(seconds(30));
  EXPECT_EQ(step(seconds(31)), at(seconds(31) + kTick));
}

// The write went below, the flush that covers it for all connections did not: nobody may be told
// that the block is durable.
TEST_F(CacheBackgroundFailure, AFlushThatFailsIsNotForgotten) {
  below.change_traits().can_multi_conn = false;
  fail(Op::flush, EIO);
  run(kDelay + kTick, seconds(12));
  ASSERT_EQ(writes(), 1U);
  let_all_pass();
  const int code = code_of([&] { layer().flush(); });
  EXPECT_TRUE(code != 0 || writes() == 2) << "durable, says the flush, but nothing was done for it";
}

// --- Who else writes back without a flush ---

TEST_F(CacheBackground, WhatMakesRoomIsFlushedAtOnceOverALayerThatIsNotMultiConn) {
  below.change_traits().can_multi_conn = false;
  settings.max_size_bytes = 4 * kBlock;
  for (int i = 0; i < 5; ++i) write(data(1), block(2 * i).offset);
  ASSERT_GE(writes(), 1U);
  EXPECT_EQ(below.calls().back().op, Op::flush);
}

TEST_F(CacheBackground, IsFlushedAtOnceOverALayerThatIsNotMultiConn) {
  settings.write_delay = kDelay;
  below.change_traits().can_multi_conn = false;
  step(seconds(0));
  write(data(1), 0);
  run(seconds(1), seconds(10));
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::pwrite, block(0)}, {Op::flush, {}}}));
}

// --- A durable store ---

class CacheFlushLocal : public CacheTest {
 protected:
  void SetUp() override {
    settings.flush = FlushTo::local;
    durable_store = true;
    store_hook.set([this](StoreOp op) { commits += op == StoreOp::commit ? 1 : 0; });
    cache().on_background_wanted([this] { ++wakes; });
  }
  std::atomic<int> commits = 0;
  int wakes = 0;
};

TEST_F(CacheFlushLocal, AFlushIsDurableHereAndWriteBackFollowsDurably) {
  EXPECT_TRUE(cache().background().is_needed());
  write(pattern(kBlock, 1), 0);
  layer().zero(kBlock, block(3).offset, {});
  layer().flush();
  EXPECT_GE(commits, 1);
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(below.calls().empty());
  const TimePoint now{hours(1)};
  EXPECT_GT(cache().background().step(below, now), now);
  EXPECT_EQ(below.calls(), (std::vector<Call>{{Op::pwrite, block(0), Durability::fua},
                                              {Op::zero, block(3), Durability::fua}}));
  EXPECT_FALSE(cache().has_unwritten());
}

TEST_F(CacheFlushLocal, FuaIsDurableHereToo) {
  write(pattern(kBlock, 1), 0, Durability::fua);
  EXPECT_EQ(commits, 1);
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(below.calls().empty());
}

TEST_F(CacheFlushLocal, AFailedCommitIsTheFlushsAnswer) {
  write(pattern(kBlock, 1), 0);
  store_hook.set([](StoreOp op) {
    if (op == StoreOp::commit) throw Error(EIO, "as the test wants it");
  });
  EXPECT_EQ(code_of([&] { layer().flush(); }), EIO);
}

TEST_F(CacheFlushLocal, WithoutFuaBelowAFlushBelowMakesItClean) {
  below.change_traits().fua = Support::none;
  write(pattern(kBlock, 1), 0);
  layer().flush();
  fail(Op::flush, EIO);
  const TimePoint now{hours(1)};
  cache().background().step(below, now);
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);  // as nothing says that it is durable below
  let_all_pass();
  cache().background().step(below, now + seconds(2));
  EXPECT_FALSE(cache().has_unwritten());
}

TEST_F(CacheFlushLocal, TheStoreIsCommittedFromTimeToTime) {
  const TimePoint now{hours(1)};
  EXPECT_EQ(cache().background().step(below, now), now + seconds(5));
  EXPECT_EQ(commits, 1);
}

// --- Expiry ---

TEST_F(CacheBackground, CleanBlocksAreDroppedWhenTheyAreTooOld) {
  settings.timeout = kDelay;
  settings.cache_on_read = [] { return true; };
  EXPECT_TRUE(cache().background().is_needed());
  step(seconds(0));
  read(block(0));
  run(seconds(1), seconds(5));
  read(block(9));
  run(seconds(6), kDelay);
  EXPECT_EQ(cache().cached_bytes(), 2U * kBlock);
  run(kDelay + kTick, seconds(11));
  EXPECT_EQ(cache().cached_bytes(), 1U * kBlock);
  run(seconds(12), seconds(16));
  EXPECT_EQ(cache().cached_bytes(), 0U);
  below.forget_calls();
  read(block(0));
  EXPECT_EQ(below.calls(Op::pread).size(), 1U);
}

TEST_F(CacheBackground, DirtyBlocksAreNotDroppedHoweverOld) {
  settings.timeout = kDelay;
  step(seconds(0));
  write(data(1), 0);
  run(seconds(1), seconds(100));
  EXPECT_EQ(cache().unwritten_bytes(), kBlock);
  EXPECT_EQ(read(block(0)), data(1));
  layer().flush();
  run(seconds(101), seconds(107));
  EXPECT_EQ(cache().cached_bytes(), kBlock);  // its age counts from when it became clean
  run(seconds(108), seconds(120));
  EXPECT_EQ(cache().cached_bytes(), 0U);
}

// Pages that were fetched long ago do not become young because a neighbour is written.
TEST_F(CacheBackground, OldPagesOfABlockThatIsWrittenAgainAndAgainAreDropped) {
  settings.timeout = kDelay;
  settings.block_size = 16 * kBlock;
  settings.cache_on_read = [] { return true; };
  step(seconds(0));
  read(block(0));
  for (int second = 1; second <= 30; ++second) {
    write(data(second), block(3).offset);
    layer().flush();
    step(seconds(second));
  }
  below.fill(block(0), std::byte{7});  // somebody else's change, which a timeout is there for
  EXPECT_EQ(read(block(0)), std::vector<std::byte>(kBlock, std::byte{7}));
}

TEST_F(CacheBackground, NothingIsAskedOfTheLayerBelowDuringThePauseAfterAFailure) {
  settings.write_delay = kDelay;
  step(seconds(0));
  const Error error(ENOTCONN, "as the test wants it");
  cache().background().could_not_open(at(seconds(1)), error);
  cache().background().could_not_open(at(seconds(2)), error);
  EXPECT_FALSE(cache().background().may_work_below(at(milliseconds(3999))));
  EXPECT_TRUE(cache().background().may_work_below(at(seconds(4))));
}

}  // namespace
}  // namespace nbdstack::testing
