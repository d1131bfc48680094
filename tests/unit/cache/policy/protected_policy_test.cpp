#include "filters/cache/policy/protected_policy.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "filters/cache/policy/make_policy.hpp"
#include "tests/unit/cache/policy/policy_cache.hpp"

namespace nbdstack {
namespace {

using Blocks = std::vector<std::uint64_t>;

// Blocks 0 ... 9 are protected.
PolicyCache protecting_cache(CachePolicy kind, Slot slots) {
  return {make_eviction_policy(kind, 10), slots};
}

class Protected : public ::testing::TestWithParam<CachePolicy> {};

INSTANTIATE_TEST_SUITE_P(Policies, Protected, ::testing::ValuesIn(kCachePolicies));

TEST_P(Protected, KeepsTheFirstBlocksWhateverElseIsRead) {
  PolicyCache cache = protecting_cache(GetParam(), 16);
  for (std::uint64_t block = 0; block < 10; ++block) cache.ask_for(block);
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t block = 10; block < 500; ++block) cache.ask_for(block);
  }
  for (std::uint64_t block = 0; block < 10; ++block) EXPECT_TRUE(cache.has(block)) << block;
  EXPECT_EQ(cache.policy().size(), 16U);
}

TEST_P(Protected, BeginsBehindTheLastProtectedBlock) {
  PolicyCache cache = protecting_cache(GetParam(), 4);
  for (const std::uint64_t block : {10, 9, 8, 7}) cache.ask_for(block);
  EXPECT_EQ(cache.victim([](std::uint64_t) { return true; }), 10U);
}

TEST_P(Protected, GivesProtectedBlocksUpWhenNothingElseMayGo) {
  PolicyCache cache = protecting_cache(GetParam(), 4);
  for (const std::uint64_t block : {1, 2, 50, 51}) cache.ask_for(block);
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block < 10; }), 1U);
  EXPECT_EQ(cache.victim([](std::uint64_t) { return false; }), PolicyCache::kNone);
}

TEST_P(Protected, EvictsAmongProtectedBlocksWhenThereAreNoOthers) {
  PolicyCache cache = protecting_cache(GetParam(), 4);
  for (std::uint64_t block = 0; block < 10; ++block) cache.ask_for(block);
  EXPECT_EQ(cache.order(), (Blocks{6, 7, 8, 9}));
}

TEST_P(Protected, ShowsProtectedBlocksLast) {
  PolicyCache cache = protecting_cache(GetParam(), 8);
  for (const std::uint64_t block : {1, 50, 2, 51}) cache.ask_for(block);
  EXPECT_EQ(cache.order(), (Blocks{50, 51, 1, 2}));
  for (int wanted = 1; wanted <= 4; ++wanted) {
    int shown = 0;
    cache.policy().in_eviction_order([&](Slot) { return ++shown < wanted; });
    EXPECT_EQ(shown, wanted);
  }
}

TEST_P(Protected, FollowsASlotThatChangesSides) {
  PolicyCache cache = protecting_cache(GetParam(), 2);
  for (const std::uint64_t block : {1, 50}) cache.ask_for(block);
  cache.drop(1);
  cache.ask_for(60);  // in the slot of block 1
  cache.drop(50);
  cache.ask_for(2);  // in the slot of block 50
  EXPECT_EQ(cache.order(), (Blocks{60, 2}));
  EXPECT_EQ(cache.victim([](std::uint64_t) { return true; }), 60U);
}

TEST(MakePolicy, ProtectsNothingUnlessItIsAskedTo) {
  PolicyCache cache(make_eviction_policy(CachePolicy::lru), 4);
  for (const std::uint64_t block : {0, 50}) cache.ask_for(block);
  EXPECT_EQ(cache.order(), (Blocks{0, 50}));
}

}  // namespace
}  // namespace nbdstack
