// What a broken invariant says, and that it ends the process.
#include "common/invariant.hpp"

#include <gtest/gtest.h>

namespace nbdstack::testing {
namespace {

TEST(Invariant, ThatHoldsCostsNothing) {
  int evaluated = 0;
  const auto counted = [&] { return ++evaluated; };
  INVARIANT(evaluated == 0, counted());
  EXPECT_EQ(evaluated, 0);
}

TEST(InvariantDeathTest, SaysWhatDoesNotHoldAndWhereAndTheValues) {
  const unsigned slot = 7;
  const unsigned slots = 5;
  EXPECT_DEATH(INVARIANT(slot < slots, slot, slots),
               "invariant_test.cpp:[0-9]+: this does not hold: slot < slots; slot, slots = 7, 5");
  EXPECT_DEATH(INVARIANT(slot == slots), "this does not hold: slot == slots\n");
}

TEST(InvariantDeathTest, ACostlyOneIsCheckedInDebugBuildsOnly) {
#ifdef NDEBUG
  COSTLY_INVARIANT(false, 1);
#else
  EXPECT_DEATH(COSTLY_INVARIANT(false, 1), "this does not hold: false; 1 = 1");
#endif
}

}  // namespace
}  // namespace nbdstack::testing
