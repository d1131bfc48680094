// When the background has something to do, with the time that the test says it is.
#include "filters/cache/state/schedule.hpp"

#include <gtest/gtest.h>

namespace nbdstack::testing {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class CacheSchedule : public ::testing::Test {
 protected:
  static constexpr TimePoint kStart{hours(1000)};
  static constexpr Duration kDelay = seconds(8);
  static constexpr bool kDurable = true;
  static constexpr bool kTemporary = false;

  static Schedule delaying() { return {{.write_delay = kDelay}, kTemporary}; }
};

TEST_F(CacheSchedule, IsNeededForADelayATimeoutOrADurableStore) {
  EXPECT_FALSE(Schedule({}, kTemporary).is_needed());
  EXPECT_TRUE(Schedule({}, kDurable).is_needed());
  EXPECT_TRUE(Schedule({.write_delay = kDelay}, kTemporary).is_needed());
  EXPECT_TRUE(Schedule({.timeout = kDelay}, kTemporary).is_needed());
}

TEST_F(CacheSchedule, ABlockIsDueAtMostAnEighthAfterTheDelayAndNeverBefore) {
  Schedule schedule = delaying();
  schedule.advance(kStart);
  schedule.advance(kStart + seconds(3));
  const Schedule::Tick since = schedule.dirty_tick();
  schedule.advance(kStart + seconds(3) + kDelay);
  EXPECT_FALSE(schedule.is_overdue(since));
  schedule.advance(kStart + seconds(3) + kDelay + kDelay / 8);
  EXPECT_TRUE(schedule.is_overdue(since));
}

TEST_F(CacheSchedule, WithoutADelayTicksAreSecondsAndNothingIsDue) {
  Schedule schedule({}, kDurable);
  schedule.advance(kStart);
  schedule.advance(kStart + seconds(100));
  EXPECT_EQ(schedule.dirty_tick(), 100);
  EXPECT_EQ(schedule.clean_tick(), 0);
  EXPECT_FALSE(schedule.take_due(kStart + seconds(100), true).overdue);
}

TEST_F(CacheSchedule, ATickIsTheSameTimeWheneverItIsAskedFor) {
  for (Schedule schedule : {Schedule({}, kDurable), delaying()}) {
    schedule.advance(kStart);
    schedule.advance(kStart + seconds(0xfff0));
    const Schedule::Tick since = schedule.dirty_tick();
    EXPECT_EQ(schedule.time_of(since), kStart + seconds(0xfff0));
    schedule.advance(kStart + seconds(0xfff0) + hours(1));
    EXPECT_EQ(schedule.time_of(since), kStart + seconds(0xfff0));
  }
}

TEST_F(CacheSchedule, TicksMayWrapAround) {
  Schedule schedule = delaying();
  schedule.advance(kStart);
  schedule.advance(kStart + seconds(0xffff));
  const Schedule::Tick since = schedule.dirty_tick();
  EXPECT_EQ(since, 0xffff);
  schedule.advance(kStart + seconds(0xffff + 8));
  EXPECT_FALSE(schedule.is_overdue(since));
  schedule.advance(kStart + seconds(0xffff + 9));
  EXPECT_TRUE(schedule.is_overdue(since));
}

TEST_F(CacheSchedule, EverythingIsDueOnce) {
  Schedule schedule({}, kDurable);
  schedule.want_everything();
  EXPECT_EQ(schedule.next_step(kStart), kStart);
  const Schedule::Due due = schedule.take_due(kStart, true);
  EXPECT_TRUE(due.everything);
  EXPECT_TRUE(due.zeros);
  EXPECT_FALSE(schedule.wants_everything());
  EXPECT_FALSE(schedule.take_due(kStart, true).zeros);
}

TEST_F(CacheSchedule, ZerosAreDueTheDelayAfterTheyWereFirstSeen) {
  Schedule schedule = delaying();
  EXPECT_FALSE(schedule.take_due(kStart, false).zeros);
  EXPECT_FALSE(schedule.take_due(kStart + seconds(1), true).zeros);
  EXPECT_FALSE(schedule.take_due(kStart + kDelay, true).zeros);
  EXPECT_TRUE(schedule.take_due(kStart + seconds(1) + kDelay, true).zeros);
  EXPECT_FALSE(schedule.take_due(kStart + seconds(2) + kDelay, true).zeros);  // others
}

TEST_F(CacheSchedule, PausesTwiceAsLongAfterEachFailureUpToAMinute) {
  Schedule schedule({}, kDurable);
  for (const int pause : {1, 2, 4, 8, 16, 32, 60, 60}) {
    EXPECT_EQ(schedule.failed(kStart), seconds(pause));
    EXPECT_FALSE(schedule.may_work_below(kStart + seconds(pause) - Duration(1)));
    EXPECT_TRUE(schedule.may_work_below(kStart + seconds(pause)));
  }
  EXPECT_TRUE(schedule.wants_everything());
  schedule.succeeded();
  EXPECT_TRUE(schedule.may_work_below(kStart));
  EXPECT_EQ(schedule.failed(kStart), seconds(1));
}

TEST_F(CacheSchedule, ComesBackForWhatIsNext) {
  EXPECT_EQ(Schedule({}, kTemporary).next_step(kStart), kStart + hours(1));
  EXPECT_EQ(Schedule({}, kDurable).next_step(kStart), kStart + seconds(5));
  EXPECT_EQ(delaying().next_step(kStart), kStart + kDelay / 8);
  Schedule failing({}, kTemporary);
  failing.failed(kStart);
  EXPECT_EQ(failing.next_step(kStart), kStart + seconds(1));
}

}  // namespace
}  // namespace nbdstack::testing
