// Threads that cannot be started for lack of memory are not waited for, and those that were are.
#include <gtest/gtest.h>

#include <atomic>
#include <new>

#include "plugins/s3/command/bounded_work.hpp"
#include "tests/unit/fakes/every_allocation.hpp"
#include "tests/unit/fakes/failing_memory.hpp"

namespace nbdstack::testing {
namespace {

TEST(BoundedWorkMemoryTest, ItemsAreWorkedOnByTheThreadsThatThereAreOrItSaysThatThereAreNone) {
  const auto history = [](long number) {
    std::atomic<int> sum = 0;
    fail_allocation(number);
    try {
      BoundedWork<int> work(3, [&](int& item) { sum += item; });
      for (int i = 1; i <= 4; ++i) work.give(i);
      work.finish();
      EXPECT_EQ(sum, 10);
    } catch (const std::bad_alloc&) {
      EXPECT_EQ(stop_failing(), 0);
      return true;
    }
    return stop_failing() == 0;
  };
  EXPECT_GT(for_every_allocation(history), 4);
}

}  // namespace
}  // namespace nbdstack::testing
