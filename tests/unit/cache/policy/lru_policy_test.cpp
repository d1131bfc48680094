#include "filters/cache/policy/lru_policy.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "filters/cache/policy/make_policy.hpp"
#include "tests/unit/cache/policy/policy_cache.hpp"

namespace nbdstack {
namespace {

using Blocks = std::vector<std::uint64_t>;

PolicyCache lru_cache(Slot slots) {
  return {make_eviction_policy(CachePolicy::lru), slots};
}

TEST(LruPolicy, EvictsWhatWasUsedLeastRecently) {
  PolicyCache cache = lru_cache(3);
  for (const std::uint64_t block : {1, 2, 3, 1, 4}) cache.ask_for(block);
  EXPECT_EQ(cache.order(), (Blocks{3, 1, 4}));
  EXPECT_EQ(cache.policy().size(), 3U);
}

TEST(LruPolicy, HasNoVictimWhenItIsEmptyOrNoneMayGo) {
  PolicyCache cache = lru_cache(3);
  EXPECT_EQ(cache.victim([](std::uint64_t) { return true; }), PolicyCache::kNone);
  cache.ask_for(1);
  EXPECT_EQ(cache.victim([](std::uint64_t) { return false; }), PolicyCache::kNone);
}

TEST(LruPolicy, PassesOverWhatMayNotGoAndLeavesItInItsPlace) {
  PolicyCache cache = lru_cache(4);
  for (const std::uint64_t block : {1, 2, 3, 4}) cache.ask_for(block);
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block > 2; }), 3U);
  EXPECT_EQ(cache.order(), (Blocks{1, 2, 3, 4}));
}

TEST(LruPolicy, AsksAboutSomeTensAtMost) {
  PolicyCache cache = lru_cache(1000);
  for (std::uint64_t block = 0; block < 1000; ++block) cache.ask_for(block);
  int asked = 0;
  EXPECT_EQ(cache.victim([&](std::uint64_t) { return ++asked > 100; }), PolicyCache::kNone);
  EXPECT_EQ(asked, 64);
}

TEST(LruPolicy, ForgetsWhatIsDropped) {
  PolicyCache cache = lru_cache(4);
  for (const std::uint64_t block : {1, 2, 3}) cache.ask_for(block);
  cache.drop(2);
  EXPECT_EQ(cache.order(), (Blocks{1, 3}));
  cache.ask_for(2);
  EXPECT_EQ(cache.order(), (Blocks{1, 3, 2}));
}

TEST(LruPolicy, ShowsNoMoreThanIsAskedFor) {
  PolicyCache cache = lru_cache(4);
  for (const std::uint64_t block : {1, 2, 3}) cache.ask_for(block);
  int shown = 0;
  cache.policy().in_eviction_order([&](Slot) { return ++shown < 2; });
  EXPECT_EQ(shown, 2);
}

}  // namespace
}  // namespace nbdstack
