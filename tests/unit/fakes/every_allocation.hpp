// One history for each allocation that fails in it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>

#include "common/log.hpp"

namespace nbdstack::testing {

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
