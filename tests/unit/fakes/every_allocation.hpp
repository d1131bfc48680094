// One history for each allocation that fails in it. For programs that link failing_memory.cpp.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <new>

#include "common/log.hpp"
#include "tests/unit/fakes/failing_memory.hpp"

namespace nbdstack::testing {

// Runs `body`, which may run out of memory, while the `number`-th allocation fails. Returns whether
// that one has come.
template <typename Body>
bool with_failing(long number, const Body& body) {
  fail_allocation(number);
  try {
    body();
  } catch (const std::bad_alloc&) {
  }
  return stop_failing() == 0;
}

// `history(n)` returns whether its n-th allocation has come. Returns how many there are.
template <typename History>
long for_every_allocation(const History& history) {
  log::set_sink({[](const char*) {}, [](const char*) {}});
  long number = 1;
  for (bool came = true; came && !::testing::Test::HasFailure(); ++number) {
    auto done = std::async(std::launch::async, [&] { return history(number); });
    if (done.wait_for(std::chrono::seconds(60)) != std::future_status::ready) {
      std::fprintf(stderr, "a request hangs after allocation %ld has failed\n", number);
      std::abort();
    }
    came = done.get();
    if (::testing::Test::HasFailure()) {
      std::fprintf(stderr, "after allocation %ld has failed\n", number);
    }
  }
  return number;
}

}  // namespace nbdstack::testing
