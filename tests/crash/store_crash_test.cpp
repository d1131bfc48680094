// DurableStore under random work on a disk that crashes at every operation, or damages files.
//
// NBDSTACK_CRASH_POINTS sets how many crashes are tried; NBDSTACK_CRASH_SEED the first seed.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "common/log.hpp"
#include "tests/crash/store_workload.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kCrashPoints = kSanitized ? 2000 : 20000;
constexpr std::uint64_t kPointsPerSeed = 400;

std::uint64_t setting(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::stoull(value);
}

TEST(StoreCrash, EveryOperation) {
  log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
  const std::uint64_t wanted = setting("NBDSTACK_CRASH_POINTS", kCrashPoints);
  std::uint64_t seed = setting("NBDSTACK_CRASH_SEED", 1);
  std::uint64_t done = 0;
  for (; done < wanted; ++seed) {
    StoreWorkload workload(seed);
    workload.run(kPointsPerSeed);
    done += workload.crash_points();
    ASSERT_EQ(workload.fault(), "") << "seed " << seed;
  }
  RecordProperty("crash_points", static_cast<int>(done));
}

TEST(StoreDamage, OfAnyFileIsNoticed) {
  const std::uint64_t wanted = setting("NBDSTACK_CRASH_POINTS", kCrashPoints);
  std::uint64_t seed = setting("NBDSTACK_CRASH_SEED", 1);
  log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
  std::uint64_t done = 0;
  std::uint64_t refused = 0;
  for (; done < wanted; ++seed) {
    StoreWorkload workload(seed);
    workload.run_damaged(kPointsPerSeed);
    done += workload.crash_points();
    refused += workload.refused();
    ASSERT_EQ(workload.fault(), "") << "seed " << seed;
  }
  // Some of them take away what matters, some do not.
  EXPECT_GT(refused, done / 20);
  EXPECT_LT(refused, done / 2);
}

}  // namespace
}  // namespace nbdstack::testing
