// An md5-file under random work, on a disk that crashes at every operation, over a layer below that
// crashes with it.
//
// NBDSTACK_CRASH_POINTS sets how many crashes are tried; NBDSTACK_CRASH_SEED the first seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/log.hpp"
#include "tests/crash/md5_file_workload.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kCrashes = kSanitized ? 1000 : 12000;
constexpr std::uint64_t kCrashesPerSeed = 400;
constexpr std::uint64_t kCrashesOfLargeDisk = 60;

std::uint64_t given(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::stoull(value);
}

class Md5FileCrash : public ::testing::Test {
 protected:
  void SetUp() override {
    log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
  }

  void crash_everywhere(bool below_is_volatile) {
    const std::uint64_t wanted = given("NBDSTACK_CRASH_POINTS", kCrashes);
    std::uint64_t done = 0;
    std::uint64_t verified = 0;
    for (std::uint64_t seed = given("NBDSTACK_CRASH_SEED", 1); done < wanted; ++seed) {
      const bool is_large = seed % 4 == 0;
      Md5FileWorkload workload({seed, below_is_volatile, is_large});
      workload.run(is_large ? kCrashesOfLargeDisk : kCrashesPerSeed);
      ASSERT_EQ(workload.fault(), "") << "seed " << seed;
      done += workload.crash_points();
      verified += workload.blocks_verified();
    }
    EXPECT_GT(verified, done / 2) << "too few blocks were safe for this to show anything";
    RecordProperty("crash_points", static_cast<int>(done));
  }
};

TEST_F(Md5FileCrash, OverAnObjectStore) {
  crash_everywhere(false);
}

TEST_F(Md5FileCrash, OverADiskWithACache) {
  crash_everywhere(true);
}

}  // namespace
}  // namespace nbdstack::testing
