// The whole cache under random work, with a crash at every operation on its directory and before
// every change below.
//
// NBDSTACK_CRASH_POINTS sets how many crashes are tried in each test; NBDSTACK_CRASH_SEED the first
// seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/log.hpp"
#include "tests/crash/engine_workload.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kCrashPoints = kSanitized ? 600 : 12000;
constexpr std::uint64_t kPointsPerSeed = 200;

std::uint64_t setting(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::stoull(value);
}

void crash_often(EngineWorkload::Below below) {
  // Failures below are part of the work.
  log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
  const std::uint64_t wanted = setting("NBDSTACK_CRASH_POINTS", kCrashPoints);
  std::uint64_t seed = setting("NBDSTACK_CRASH_SEED", 1);
  std::uint64_t done = 0;
  for (; done < wanted; ++seed) {
    EngineWorkload workload(seed, below);
    workload.run(kPointsPerSeed);
    done += workload.crash_points();
    ASSERT_EQ(workload.fault(), "") << "seed " << seed;
  }
  ::testing::Test::RecordProperty("crash_points", static_cast<int>(done));
}

TEST(EngineCrash, LayerBelowKeepsWhatItWasSent) {
  crash_often(EngineWorkload::Below::keeps);
}

TEST(EngineCrash, LayerBelowForgetsWhatWasNotFlushed) {
  crash_often(EngineWorkload::Below::forgets);
}

}  // namespace
}  // namespace nbdstack::testing
