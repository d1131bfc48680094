// Whichever allocation fails while threads are started: what cannot be started is told, what was
// started is joined, and nothing ends the process.
#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <stdexcept>
#include <string>

#include "common/log.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "common/sync/worker_pool.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"

namespace nbdstack::testing {
namespace {

TEST(ThreadsMemoryTest, AStoppableThreadStartsOrThrowsWhicheverAllocationFails) {
  const auto history = [](long number) {
    StoppableThread thread;
    std::atomic<int> rounds = 0;
    const auto count = [&](StoppableThread& self) {
      do {
        ++rounds;
        rounds.notify_all();
      } while (self.pause());
    };
    const bool came = with_failing(number, [&] { thread.start(count); });
    if (!thread.has_thread()) thread.start(count);  // there is memory again
    rounds.wait(0);
    return came;
  };
  EXPECT_GT(for_every_allocation(history), 1);
}

TEST(ThreadsMemoryTest, APoolWorksWithTheThreadsThatItGets) {
  const auto history = [](long number) {
    WorkerPool pool(3);
    std::atomic<int> done = 0;
    const auto count = [&](std::size_t) { ++done; };
    const bool came = with_failing(number, [&] { pool.run(4, count); });
    EXPECT_TRUE(done == 0 || done == 4) << done;
    pool.run(4, count);
    EXPECT_GE(done, 4);
    return came;
  };
  EXPECT_GT(for_every_allocation(history), 4);
}

TEST(ThreadsMemoryTest, WhatAThreadThrowsEndsItAndIsLogged) {
  static std::string logged;
  log::set_sink({[](const char* message) { logged = message; }, [](const char*) {}});
  StoppableThread([](StoppableThread&) { throw std::runtime_error("cannot go on"); }).stop();
  EXPECT_NE(logged.find("cannot go on"), std::string::npos) << logged;
}

TEST(ThreadsMemoryTest, AMessageIsLoggedWithoutItsValuesWhereThereIsNoMemory) {
  static const char* format = nullptr;
  log::set_sink({[](const char* message) { format = message; }, [](const char*) {}});
  const std::string value(1000, 'x');
  fail_allocation(1, Failing::in_this_thread);
  log::error("it was {}", value);
  EXPECT_EQ(stop_failing(), 0);
  EXPECT_STREQ(format, "it was {}");
}

TEST(ThreadsMemoryTest, AMessageThatItsSinkHasNoMemoryForIsLost) {
  log::set_sink({[](const char*) { throw std::bad_alloc(); }, [](const char*) {}});
  log::error("{}", 1);
  log::set_sink({[](const char*) {}, [](const char*) {}});
}

}  // namespace
}  // namespace nbdstack::testing
