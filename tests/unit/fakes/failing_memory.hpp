// Memory that runs out once, at an allocation of the test's choice. For a program of its own, which
// links failing_memory.cpp: that replaces operator new.
#pragma once

namespace nbdstack::testing {

enum class Failing { in_all_threads, in_this_thread };

// The allocation that comes when `count` - 1 others have come fails with std::bad_alloc, and later
// ones succeed again. 0: none fails.
void fail_allocation(long count, Failing where = Failing::in_all_threads);

// None fails any more. Returns what fail_allocation() would have to be given to go on; 0: it has
// failed, or none was to.
long stop_failing();

// What its thread allocates while it lives neither fails nor counts.
class SafeMemory {
 public:
  SafeMemory();
  SafeMemory(const SafeMemory&) = delete;
  SafeMemory& operator=(const SafeMemory&) = delete;
  ~SafeMemory();
};

}  // namespace nbdstack::testing
