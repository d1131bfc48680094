#include "plugins/s3/store/service/removal_pace.hpp"

#include <gtest/gtest.h>

namespace nbdstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(RemovalPaceTest, AServiceThatIsQuickSoonGetsAllThatS3Allows) {
  RemovalPace pace(seconds(4));
  EXPECT_EQ(pace.keys(), RemovalPace::kFirst);
  pace.answered(250, milliseconds(300));
  EXPECT_EQ(pace.keys(), 500U);
  pace.answered(500, milliseconds(600));
  pace.answered(1000, milliseconds(1200));
  EXPECT_EQ(pace.keys(), RemovalPace::kMost);
}

TEST(RemovalPaceTest, FewKeysThatAreQuickSayNothingOfMany) {
  RemovalPace pace(seconds(4));
  pace.answered(3, milliseconds(1));
  EXPECT_EQ(pace.keys(), RemovalPace::kFirst);
}

TEST(RemovalPaceTest, ASlowOneGetsAsManyAsItRemovesInGoodTime) {
  RemovalPace pace(seconds(4));
  pace.answered(250, seconds(10));
  EXPECT_EQ(pace.keys(), 100U);
  pace.answered(100, seconds(3));
  EXPECT_EQ(pace.keys(), 100U) << "neither early nor late";
  pace.answered(100, seconds(4000));
  EXPECT_EQ(pace.keys(), RemovalPace::kLeast);
}

TEST(RemovalPaceTest, WhatWasGivenUpIsAskedForInParts) {
  RemovalPace pace(seconds(4));
  EXPECT_TRUE(pace.given_up(250));
  EXPECT_EQ(pace.keys(), 31U);
  EXPECT_TRUE(pace.given_up(250)) << "another request that was under way at the same time";
  EXPECT_EQ(pace.keys(), 31U);
  EXPECT_TRUE(pace.given_up(31));
  EXPECT_EQ(pace.keys(), RemovalPace::kLeast);
  EXPECT_FALSE(pace.given_up(RemovalPace::kLeast));
}

}  // namespace
}  // namespace nbdstack
