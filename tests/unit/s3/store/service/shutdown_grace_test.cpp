// What may still be done once the server has been told to stop, by a clock that the test moves.
#include "plugins/s3/store/service/shutdown_grace.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;

class ShutdownGraceTest : public ::testing::Test {
 protected:
  static constexpr Duration kGrace = seconds(20);

  // Asks until a look at the server has been taken.
  bool is_over(const ShutdownGrace::Stay& stay) {
    std::this_thread::sleep_for(ShutdownGrace::kLookEvery * 2);
    return grace.is_over_for(stay.operation);
  }

  bool stopped = true;
  testing::FakeClock clock;
  ShutdownGrace grace{[this] { return stopped; }, clock, kGrace};
};

TEST_F(ShutdownGraceTest, NothingIsOverWhileTheServerRuns) {
  stopped = false;
  const ShutdownGrace::Stay write(grace, true);
  const ShutdownGrace::Stay read(grace, false);
  clock.advance(seconds(1000));
  EXPECT_FALSE(is_over(write));
  EXPECT_FALSE(is_over(read));
}

TEST_F(ShutdownGraceTest, AReadOfAClientEndsAtOnceAndAWriteWhenTheServiceHasBeenSilent) {
  stopped = false;
  const ShutdownGrace::Stay read(grace, false);
  const ShutdownGrace::Stay write(grace, true);
  EXPECT_FALSE(is_over(read));
  stopped = true;
  EXPECT_TRUE(is_over(read));
  EXPECT_FALSE(is_over(write));
  clock.advance(kGrace - seconds(1));
  EXPECT_FALSE(is_over(write));
  clock.advance(seconds(1));
  EXPECT_TRUE(is_over(write));
}

TEST_F(ShutdownGraceTest, LastsAsLongAsSomethingGetsOn) {
  const ShutdownGrace::Stay slow(grace, true);
  EXPECT_FALSE(is_over(slow));
  for (int round = 0; round < 100; ++round) {
    clock.advance(kGrace - seconds(1));
    EXPECT_FALSE(grace.is_over_for(slow.operation)) << round;
    grace.got_on();
  }
  clock.advance(kGrace);
  EXPECT_TRUE(grace.is_over_for(slow.operation));
}

// A client that stays connected after the signal, and flushes later.
TEST_F(ShutdownGraceTest, TimeInWhichNobodyWantsAnythingIsNoSilence) {
  { EXPECT_FALSE(is_over(ShutdownGrace::Stay(grace, true))); }
  clock.advance(seconds(1000));
  const ShutdownGrace::Stay late(grace, true);
  EXPECT_FALSE(is_over(late));
  clock.advance(kGrace - seconds(1));
  EXPECT_FALSE(is_over(late));
}

// Otherwise a thousand blocks, one after the other, would each wait in vain for the grace period.
TEST_F(ShutdownGraceTest, SilenceIsWaitedForOnce) {
  {
    const ShutdownGrace::Stay first(grace, true);
    EXPECT_FALSE(is_over(first));
    clock.advance(kGrace);
    EXPECT_TRUE(is_over(first));
  }
  const ShutdownGrace::Stay second(grace, true);
  EXPECT_TRUE(is_over(second));
  grace.got_on();  // its first attempt has succeeded
  EXPECT_FALSE(is_over(second));
}

}  // namespace
}  // namespace nbdstack
