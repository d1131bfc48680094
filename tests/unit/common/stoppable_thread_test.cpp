#include "common/sync/stoppable_thread.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

namespace nbdstack {
namespace {

using namespace std::chrono_literals;

TEST(StoppableThreadTest, AStopEndsAPauseAndWaitsForTheFunction) {
  std::atomic<int> rounds = 0;
  bool has_ended = false;
  StoppableThread thread([&](StoppableThread& self) {
    while (self.pause()) ++rounds;
    has_ended = true;
  });
  thread.stop();
  EXPECT_TRUE(has_ended);
  EXPECT_EQ(rounds, 0);
  EXPECT_FALSE(thread.has_thread());
  thread.stop();
}

TEST(StoppableThreadTest, AWakeBetweenTwoPausesEndsTheNext) {
  std::atomic<int> rounds = 0;
  StoppableThread thread([&](StoppableThread& self) {
    self.wake();
    while (self.pause_until(TimePoint::max())) {
      ++rounds;
      rounds.notify_all();
    }
  });
  rounds.wait(0);
  thread.wake();
  rounds.wait(1);
  thread.stop();
  EXPECT_EQ(rounds, 2);
}

TEST(StoppableThreadTest, APauseEndsByItself) {
  std::atomic<bool> paused = false;
  StoppableThread thread([&](StoppableThread& self) {
    paused = self.pause_for(1ms);
    paused.notify_all();
  });
  paused.wait(false);
}

TEST(StoppableThreadTest, OneThatWasToldToStopMayBeStartedAgain) {
  std::atomic<int> runs = 0;
  const auto count = [&](StoppableThread& self) {
    ++runs;
    while (!self.is_stopping()) self.pause();
  };
  StoppableThread thread;
  thread.stop();
  thread.start(count);
  thread.request_stop();
  thread.stop();
  thread.start(count);
  thread.stop();
  EXPECT_EQ(runs, 2);
}

}  // namespace
}  // namespace nbdstack
