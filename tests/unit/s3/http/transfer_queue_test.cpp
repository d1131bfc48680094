#include "plugins/s3/http/transfer_queue.hpp"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/fakes/break_invariant.hpp"

namespace nbdstack {
namespace {

using std::chrono::seconds;

constexpr TimePoint kQueueStart{std::chrono::hours(1)};

class TransferQueueTest : public ::testing::Test {
 protected:
  // Small ones have small letters.
  static TransferClass class_of(char name) {
    return name >= 'a' ? TransferClass::small : TransferClass::large;
  }
  void push(const std::string& names) {
    for (const char each : names) queue.push(class_of(each), each, now);
  }
  // Who gets a place now.
  std::string take(unsigned places, unsigned large_most = 8) {
    std::string taken;
    while (const auto next = queue.take(places, large_most, now)) taken += *next;
    return taken;
  }
  void release(const std::string& names) {
    for (const char each : names) queue.release(class_of(each), now);
  }

  TransferQueue<char> queue;
  TimePoint now = kQueueStart;
};

TEST_F(TransferQueueTest, PlacesAreBoundedAndOrderIsKept) {
  push("abc");
  EXPECT_EQ(take(2), "ab");
  EXPECT_EQ(queue.in_flight(), 2U);
  EXPECT_EQ(take(2), "");
  release("a");
  EXPECT_EQ(take(2), "c");
  EXPECT_TRUE(queue.is_empty());
}

TEST_F(TransferQueueTest, ClassesTakeTurns) {
  push("ABCDabcd");
  EXPECT_EQ(take(8), "aAbBcCdD");
}

TEST_F(TransferQueueTest, SmallOnesInNumbersDoNotStarveALargeOne) {
  push("abcd");
  EXPECT_EQ(take(2), "ab");
  push("A");
  release("a");
  EXPECT_EQ(take(2), "c");
  release("b");
  EXPECT_EQ(take(2), "A");
}

TEST_F(TransferQueueTest, LargeOnesAloneUseAllPlaces) {
  push("ABCDEFGH");
  EXPECT_EQ(take(8), "ABCDEFGH");
}

TEST_F(TransferQueueTest, LargeOnesLeaveTheLastQuarterToSmallOnes) {
  push("aABCDEFGH");
  EXPECT_EQ(take(8), "aABCDEF");
  release("a");
  EXPECT_EQ(take(8), "");  // another may come
  push("b");
  EXPECT_EQ(take(8), "b");
  release("b");
  now += TransferQueue<char>::kSmallMemory;
  EXPECT_EQ(take(8), "GH");
}

TEST_F(TransferQueueTest, SmallOnesPassLargeOnesThatTheLineHasNoUseFor) {
  push("ABCDabcd");
  EXPECT_EQ(take(8, 2), "aAbBcd");
  EXPECT_TRUE(queue.waits(TransferClass::large));
  EXPECT_EQ(queue.in_flight(TransferClass::large), 2U);
  release("A");
  EXPECT_EQ(take(8, 2), "C");
}

TEST_F(TransferQueueTest, OfFewPlacesOneIsLeftAndOfOneNone) {
  push("aABC");
  EXPECT_EQ(take(2), "aA");
  release("aA");
  EXPECT_EQ(take(2), "B");
  EXPECT_EQ(take(1), "");
  release("B");
  EXPECT_EQ(take(1), "C");
}

TEST_F(TransferQueueTest, WhoGivesUpIsForgotten) {
  push("aA");
  EXPECT_EQ(queue.remove([](char each) { return each == 'A'; }), 'A');
  EXPECT_EQ(queue.remove([](char each) { return each == 'A'; }), std::nullopt);
  EXPECT_EQ(take(8), "a");
}

TEST_F(TransferQueueTest, APlaceCanBeTakenWithoutWaiting) {
  queue.occupy(TransferClass::large);
  push("A");
  EXPECT_EQ(take(1), "");
  queue.release(TransferClass::large, now);
  EXPECT_EQ(take(1), "A");
}

TEST_F(TransferQueueTest, APlaceThatWasNotTakenCannotBeReleased) {
  queue.occupy(TransferClass::large);
  EXPECT_BROKEN(queue.release(TransferClass::small, now), "taken\\(its_class\\) > 0");
  queue.release(TransferClass::large, now);
  EXPECT_BROKEN(queue.release(TransferClass::large, now), "taken\\(its_class\\) > 0");
}

}  // namespace
}  // namespace nbdstack
