// What may still be done once the server has been told to stop, by a clock that the test moves.
#include "plugins/s3/store/service/last_minute.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;

class LastMinuteTest : public ::testing::Test {
 protected:
  static constexpr Duration kGrace = seconds(20);

  // Asks until a look at the server has been taken.
  bool is_over(const LastMinute::Stay& stay) {
    std::this_thread::sleep_for(LastMinute::kLookEvery * 2);
    return last_minute.is_over_for(stay.operation);
  }

  bool stopped = true;
  testing::FakeClock clock;
  LastMinute last_minute{[this] { return stopped; }, clock, kGrace};
};

TEST_F(LastMinuteTest, NothingIsOverWhileTheServerRuns) {
  stopped = false;
  const LastMinute::Stay write(last_minute, true);
  const LastMinute::Stay read(last_minute, false);
  clock.advance(seconds(1000));
  EXPECT_FALSE(is_over(write));
  EXPECT_FALSE(is_over(read));
}

TEST_F(LastMinuteTest, AReadOfAClientEndsAtOnceAndAWriteWhenTheServiceHasBeenSilent) {
  stopped = false;
  const LastMinute::Stay read(last_minute, false);
  const LastMinute::Stay write(last_minute, true);
  EXPECT_FALSE(is_over(read));
  stopped = true;
  EXPECT_TRUE(is_over(read));
  EXPECT_FALSE(is_over(write));
  clock.advance(kGrace - seconds(1));
  EXPECT_FALSE(is_over(write));
  clock.advance(seconds(1));
  EXPECT_TRUE(is_over(write));
}

TEST_F(LastMinuteTest, LastsAsLongAsSomethingGetsOn) {
  const LastMinute::Stay slow(last_minute, true);
  EXPECT_FALSE(is_over(slow));
  for (int round = 0; round < 100; ++round) {
    clock.advance(kGrace - seconds(1));
    EXPECT_FALSE(last_minute.is_over_for(slow.operation)) << round;
    last_minute.got_on();
  }
  clock.advance(kGrace);
  EXPECT_TRUE(last_minute.is_over_for(slow.operation));
}

// A client that stays connected after the signal, and flushes later.
TEST_F(LastMinuteTest, TimeInWhichNobodyWantsAnythingIsNoSilence) {
  { EXPECT_FALSE(is_over(LastMinute::Stay(last_minute, true))); }
  clock.advance(seconds(1000));
  const LastMinute::Stay late(last_minute, true);
  EXPECT_FALSE(is_over(late));
  clock.advance(kGrace - seconds(1));
  EXPECT_FALSE(is_over(late));
}

// Otherwise a thousand blocks, one after the other, would each wait in vain for the grace period.
TEST_F(LastMinuteTest, SilenceIsWaitedForOnce) {
  {
    const LastMinute::Stay first(last_minute, true);
    EXPECT_FALSE(is_over(first));
    clock.advance(kGrace);
    EXPECT_TRUE(is_over(first));
  }
  const LastMinute::Stay second(last_minute, true);
  EXPECT_TRUE(is_over(second));
  last_minute.got_on();  // its first attempt has succeeded
  EXPECT_FALSE(is_over(second));
}

}  // namespace
}  // namespace nbdstack
