// Threads that fetch: the bound on what is in flight, and the end.
#include "filters/readahead/prefetch_threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "tests/unit/fakes/fake_layer.hpp"

namespace nbdstack {
namespace {

using testing::Gate;

// What the jobs use goes after the threads.

TEST(PrefetchThreads, JobsRunSideBySideWithinTheBound) {
  Gate gate;
  std::atomic<int> begun = 0;
  PrefetchThreads threads(8, 300);
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(threads.submit(100, [&] {
      ++begun;
      gate.pass();
    }));
  }
  gate.wait_for_arrivals(3);
  EXPECT_EQ(begun, 3);
  gate.open();
  gate.wait_for_arrivals(6);
}

TEST(PrefetchThreads, TheBoundHoldsWhenJobsEnd) {
  std::mutex mutex;
  std::uint64_t in_flight = 0;
  std::uint64_t most = 0;
  Gate all;
  all.open();
  PrefetchThreads threads(8, 250);
  for (std::uint64_t i = 0; i < 500; ++i) {
    const std::uint64_t bytes = 50 + i % 3 * 50;
    while (!threads.submit(bytes, [&, bytes] {
      {
        const std::lock_guard lock(mutex);
        in_flight += bytes;
        most = std::max(most, in_flight);
      }
      std::this_thread::yield();
      const std::lock_guard lock(mutex);
      in_flight -= bytes;
      all.pass();
    })) {
      std::this_thread::yield();
    }
  }
  all.wait_for_arrivals(500);
  EXPECT_LE(most, 250U);
}

TEST(PrefetchThreads, AJobLargerThanTheBoundRunsAlone) {
  Gate first;
  Gate second;
  PrefetchThreads threads(4, 100);
  threads.submit(1000, [&] { first.pass(); });
  threads.submit(1, [&] { second.pass(); });
  first.wait_for_arrivals(1);
  second.open();
  first.open();
  second.wait_for_arrivals(1);
}

TEST(PrefetchThreads, JobsBeginInOrder) {
  std::vector<int> order;
  Gate last;
  last.open();
  PrefetchThreads threads(1, 1000);
  for (int i = 0; i < 10; ++i) {
    threads.submit(10, [&, i] {
      order.push_back(i);
      if (i == 9) last.pass();
    });
  }
  last.wait_for_arrivals(1);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(PrefetchThreads, StoppingWaitsForWhatHasBegunAndDropsTheRest) {
  Gate gate;
  std::atomic<int> begun = 0;
  PrefetchThreads threads(2, 1000);
  for (int i = 0; i < 10; ++i) {
    threads.submit(10, [&] {
      ++begun;
      gate.pass();
    });
  }
  gate.wait_for_arrivals(2);
  auto stopped = std::async(std::launch::async, [&] { threads.stop(); });
  while (!threads.is_stopping()) std::this_thread::yield();
  EXPECT_FALSE(threads.submit(10, [&] { ++begun; }));
  gate.open();
  stopped.get();
  EXPECT_EQ(begun, 2);
  threads.stop();
}

TEST(PrefetchThreads, GivingUpDropsWhatWaitsAndTakesNoMore) {
  Gate gate;
  std::atomic<int> begun = 0;
  PrefetchThreads threads(1, 1000);
  threads.submit(10, [&] {
    ++begun;
    gate.pass();
    threads.give_up();
  });
  gate.wait_for_arrivals(1);
  for (int i = 0; i < 10; ++i) threads.submit(10, [&] { ++begun; });
  gate.open();
  while (!threads.is_stopping()) std::this_thread::yield();
  EXPECT_FALSE(threads.submit(10, [&] { ++begun; }));
  threads.stop();
  EXPECT_EQ(begun, 1);
}

TEST(PrefetchThreads, WithoutAJobThereIsNothingToStop) {
  PrefetchThreads threads(2, 1000);
  threads.stop();
  EXPECT_FALSE(threads.submit(10, [] { FAIL(); }));
}

TEST(PrefetchThreads, TheQueueIsBounded) {
  Gate gate;
  PrefetchThreads threads(1, 1000);
  threads.submit(10, [&] { gate.pass(); });
  gate.wait_for_arrivals(1);
  std::size_t taken = 0;
  while (taken < 100000 && threads.submit(10, [] {})) ++taken;
  EXPECT_EQ(taken, 1024U);
  gate.open();
}

}  // namespace
}  // namespace nbdstack
