// A hint for which there is no memory is dropped, or fetched by fewer threads: nothing ends for it.
#include <gtest/gtest.h>

#include <atomic>
#include <new>

#include "filters/readahead/prefetch_threads.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"

namespace nbdstack::testing {
namespace {

// Whether the allocation has come.
bool submit_with_failing(long number) {
  PrefetchThreads threads(4, 1U << 20U);
  std::atomic<bool> fetched = false;
  bool submitted = false;
  fail_allocation(number);
  try {
    submitted = threads.submit(1, [&] {
      fetched = true;
      fetched.notify_all();
    });
  } catch (const std::bad_alloc&) {
    submitted = false;
  }
  if (submitted) fetched.wait(false);
  const bool came = stop_failing() == 0;
  threads.stop();
  return came;
}

TEST(PrefetchMemoryTest, AHintIsFetchedOrRefusedWhicheverAllocationFails) {
  EXPECT_GT(for_every_allocation(submit_with_failing), 4);
}

TEST(PrefetchMemoryTest, AFetchWithoutMemoryLeavesTheThreadsToTheNext) {
  PrefetchThreads threads(1, 1);
  std::atomic<bool> fetched = false;
  EXPECT_TRUE(threads.submit(1, [] { throw std::bad_alloc(); }));
  EXPECT_TRUE(threads.submit(1, [&] {
    fetched = true;
    fetched.notify_all();
  }));
  fetched.wait(false);
  threads.stop();
}

}  // namespace
}  // namespace nbdstack::testing
