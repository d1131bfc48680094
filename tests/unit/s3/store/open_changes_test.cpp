#include "plugins/s3/store/open_changes.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fakes/fake_clock.hpp"

namespace nbdstack {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;

const ObjectVersion kOld = ObjectVersion::of("\"old\"");
const ObjectVersion kNew = ObjectVersion::of("\"new\"");
const ObjectVersion kOther = ObjectVersion::of("\"other\"");

class OpenChangesTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  OpenChanges open_{clock_};
};

TEST_F(OpenChangesTest, OneOverACertainVersionEndangersThatVersionOnly) {
  open_.add({1}, {.over = kOld, .result = kNew}, 60s);
  EXPECT_EQ(open_.time_to_wait({1}, kOld), 60s);
  EXPECT_LE(open_.time_to_wait({1}, kNew), 0s);
  EXPECT_LE(open_.time_to_wait({1}, kOther), 0s);
  EXPECT_LE(open_.time_to_wait({1}, ObjectVersion::absent()), 0s);
  EXPECT_LE(open_.time_to_wait({2}, kOld), 0s);
}

TEST_F(OpenChangesTest, OneThatChangesNothingEndangersNothing) {
  open_.add({1}, {.over = kOld, .result = kOld}, 60s);
  EXPECT_LE(open_.time_to_wait({1}, kOld), 0s);
}

TEST_F(OpenChangesTest, OneOverWhateverIsThereEndangersAllButItsOwnResult) {
  open_.add({1}, {.over = {}, .result = kNew}, 60s);
  EXPECT_LE(open_.time_to_wait({1}, kNew), 0s);
  EXPECT_EQ(open_.time_to_wait({1}, kOld), 60s);
  EXPECT_EQ(open_.time_to_wait({1}, ObjectVersion::absent()), 60s);
}

TEST_F(OpenChangesTest, TheLongestWaitCountsAndItPasses) {
  open_.add({1}, {.over = {}, .result = kNew}, 60s);
  open_.add({1}, {.over = {}, .result = kNew}, 2s);  // sent again
  open_.add({1}, {.over = {}, .result = kOther}, 2s);
  EXPECT_EQ(open_.time_to_wait({1}, kOld), 60s);
  clock_.advance(59s);
  EXPECT_EQ(open_.time_to_wait({1}, kOld), 1s);
  clock_.advance(1s);
  EXPECT_LE(open_.time_to_wait({1}, kOld), 0s);
}

TEST_F(OpenChangesTest, WhatOneLeavesIsRecognisedForLonger) {
  open_.add({1}, {.over = kOld, .result = ObjectVersion::absent()}, 2s);
  clock_.advance(10min);
  EXPECT_TRUE(open_.explains({1}, ObjectVersion::absent()));
  EXPECT_FALSE(open_.explains({1}, kOld));
  EXPECT_FALSE(open_.explains({2}, ObjectVersion::absent()));
  open_.add({1}, {.over = kOld, .result = {}}, 2s);
  EXPECT_FALSE(open_.explains({1}, {}));
  open_.add({1}, {.over = kOld, .result = kNew, .checksum = "c0ffee"}, 2s);
  EXPECT_TRUE(open_.explains({1}, kOther, "c0ffee"));
  EXPECT_FALSE(open_.explains({1}, kOther, "decaf"));
  EXPECT_FALSE(open_.explains({1}, kOther, ""));
}

TEST_F(OpenChangesTest, OldOnesAreForgottenOnceTheyAreSuperseded) {
  for (std::uint64_t block = 0; block < 1000; ++block) {
    open_.add({block}, {.over = kOld, .result = kNew}, 2s);
    if (block != 5) open_.supersede({block});
    clock_.advance(1min);
  }
  EXPECT_FALSE(open_.has_any({0}));
  EXPECT_TRUE(open_.has_any({5}));
  EXPECT_TRUE(open_.has_any({999}));
  EXPECT_EQ(open_.blocks_in({0}, {6}), std::vector<BlockNumber>{{5}});
}

}  // namespace
}  // namespace nbdstack
