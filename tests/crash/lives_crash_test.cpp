// Histories of several lives and hosts (lives_workload.hpp).
//
// NBDSTACK_HISTORIES sets how many are tried; NBDSTACK_CRASH_SEED the first seed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "common/log.hpp"
#include "tests/crash/lives_workload.hpp"
#include "tests/unit/fakes/sanitizer.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kHistories = kSanitized ? 500 : 10000;
constexpr std::size_t kLives = 6;

std::uint64_t setting(const char* name, std::uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::stoull(value);
}

void be_silent() {
  log::set_sink({.error = [](const char*) {}, .debug = [](const char*) {}});
}

TEST(LivesCrash, NothingOldIsServedAndNothingNewerIsOverwritten) {
  be_silent();
  const std::uint64_t first = setting("NBDSTACK_CRASH_SEED", 1);
  const std::uint64_t histories = setting("NBDSTACK_HISTORIES", kHistories);
  std::size_t refusals = 0;
  for (std::uint64_t seed = first; seed < first + histories; ++seed) {
    LivesWorkload workload(seed, LivesWorkload::Directories::know_their_disk);
    workload.run(kLives);
    ASSERT_EQ(workload.fault(), "") << "seed " << seed;
    refusals += workload.refusals();
  }
  EXPECT_GT(refusals, histories / 20);
}

// The judge sees what it is there for.
TEST(LivesCrash, DirectoriesThatKnowNothingAreFound) {
  be_silent();
  constexpr std::uint64_t kTried = 200;
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= kTried; ++seed) {
    LivesWorkload workload(seed, LivesWorkload::Directories::know_nothing);
    workload.run(kLives);
    if (!workload.fault().empty()) ++found;
  }
  EXPECT_GT(found, kTried / 4);
}

}  // namespace
}  // namespace nbdstack::testing
