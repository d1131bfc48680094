#include "filters/cache/policy/s3_fifo_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "filters/cache/policy/make_policy.hpp"
#include "tests/unit/cache/policy/policy_cache.hpp"

namespace nbdstack {
namespace {

using Blocks = std::vector<std::uint64_t>;

PolicyCache s3_fifo_cache(Slot slots) {
  return {make_eviction_policy(CachePolicy::s3fifo), slots};
}

bool yes(std::uint64_t /*block*/) {
  return true;
}

void fill(PolicyCache& cache, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t block = first; block < first + count; ++block) cache.ask_for(block);
}

std::uint64_t cached(const PolicyCache& cache, std::uint64_t first, std::uint64_t count) {
  std::uint64_t found = 0;
  for (std::uint64_t block = first; block < first + count; ++block) found += cache.has(block);
  return found;
}

// A reader of `count` blocks, `requests` of them for each one after the other.
void scan(PolicyCache& cache, std::uint64_t first, std::uint64_t count, int requests) {
  for (std::uint64_t block = first; block < first + count; ++block) {
    for (int request = 0; request < requests; ++request) cache.ask_for(block);
  }
}

TEST(S3FifoPolicy, HasNoVictimWhenItIsEmptyOrNoneMayGo) {
  PolicyCache cache = s3_fifo_cache(3);
  EXPECT_EQ(cache.victim(yes), PolicyCache::kNone);
  fill(cache, 0, 3);
  cache.ask_for(0);  // one that would move to main
  EXPECT_EQ(cache.victim([](std::uint64_t) { return false; }), PolicyCache::kNone);
  EXPECT_EQ(cache.policy().size(), 3U);
}

TEST(S3FifoPolicy, EvictsUnusedBlocksInTheOrderOfArrival) {
  PolicyCache cache = s3_fifo_cache(4);
  fill(cache, 1, 6);
  EXPECT_EQ(cache.order(), (Blocks{3, 4, 5, 6}));
}

TEST(S3FifoPolicy, KeepsABlockThatWasUsedWhileItWasNew) {
  PolicyCache cache = s3_fifo_cache(4);
  fill(cache, 1, 4);
  cache.ask_for(1);
  fill(cache, 5, 8);
  EXPECT_TRUE(cache.has(1));
}

TEST(S3FifoPolicy, CountsUsesCloseTogetherAsTheOneThatBroughtTheBlock) {
  PolicyCache cache = s3_fifo_cache(1280);  // an epoch is 20 arrivals
  fill(cache, 0, 1280);
  for (int use = 0; use < 16; ++use) cache.ask_for(1279);
  EXPECT_EQ(cache.order().back(), 1279U);  // the newest of small: main is empty
  cache.ask_for(0);
  EXPECT_EQ(cache.order().back(), 0U);
  fill(cache, 2000, 1280);
  EXPECT_TRUE(cache.has(0));
  EXPECT_FALSE(cache.has(1279));
}

TEST(S3FifoPolicy, TakesABlockThatComesBackForOneOfProvenUse) {
  PolicyCache cache = s3_fifo_cache(8);
  fill(cache, 1, 9);
  ASSERT_FALSE(cache.has(1));
  cache.ask_for(1);
  fill(cache, 100, 50);
  EXPECT_TRUE(cache.has(1));
}

TEST(S3FifoPolicy, RemembersWhatWasEvictedButNotWhatWasDropped) {
  PolicyCache cache = s3_fifo_cache(8);
  fill(cache, 1, 8);
  cache.drop(1);
  cache.evict(2);
  fill(cache, 1, 2);
  fill(cache, 100, 50);
  EXPECT_FALSE(cache.has(1));
  EXPECT_TRUE(cache.has(2));
}

TEST(S3FifoPolicy, DoesNotRememberWhatLeavesMain) {
  PolicyCache cache = s3_fifo_cache(8);
  fill(cache, 1, 9);
  cache.ask_for(1);  // a ghost: into main
  cache.evict(1);
  cache.ask_for(1);
  fill(cache, 100, 50);
  EXPECT_FALSE(cache.has(1));
}

// Blocks 1 and 2 in main, and nothing else in the cache.
void fill_main(PolicyCache& cache) {
  for (const std::uint64_t block : {1, 2}) {
    cache.ask_for(block);
    cache.evict(block);
  }
  for (const std::uint64_t block : {1, 2}) cache.ask_for(block);
}

void begin_epoch(PolicyCache& cache) {
  cache.ask_for(1000);
  cache.drop(1000);
}

TEST(S3FifoPolicy, GoesRoundMainOnceMoreForBlocksInUse) {
  PolicyCache cache = s3_fifo_cache(8);
  fill_main(cache);
  EXPECT_EQ(cache.order(), (Blocks{1, 2}));
  for (int use = 0; use < 5; ++use) {
    begin_epoch(cache);
    cache.ask_for(1);
  }
  EXPECT_EQ(cache.victim(yes), 2U);
  EXPECT_EQ(cache.order(), (Blocks{2, 1}));
  begin_epoch(cache);
  cache.ask_for(2);
  EXPECT_EQ(cache.victim(yes), 1U);  // however often it was used: the bit is gone
}

TEST(S3FifoPolicy, OffersABlockInUseRatherThanNone) {
  PolicyCache cache = s3_fifo_cache(8);
  fill_main(cache);
  begin_epoch(cache);
  cache.ask_for(2);
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block == 2; }), 2U);
  EXPECT_EQ(cache.order(), (Blocks{1, 2}));
}

TEST(S3FifoPolicy, LeavesMainAloneWhileAReaderOfTheWholeDiskPasses) {
  for (const int requests : {1, 16}) {
    PolicyCache cache = s3_fifo_cache(1000);
    for (std::uint64_t round = 0; round < 4; ++round) {
      fill(cache, 0, 700);
      fill(cache, 5000 + round * 20, 20);  // something else, so that epochs go by
    }
    scan(cache, 10'000, 50'000, requests);
    EXPECT_GE(cached(cache, 0, 700), 695U) << requests;
  }
}

// Blocks of other readers arrive between the requests for a block: still uses close together, but
// for one block in thirty or so whose uses span two epochs. They cost main an eighth.
TEST(S3FifoPolicy, KeepsMostOfMainWhileSeveralReadersPassSideBySide) {
  PolicyCache cache = s3_fifo_cache(6400);
  for (std::uint64_t round = 0; round < 4; ++round) {
    fill(cache, 0, 4500);
    fill(cache, 5000 + round * 200, 200);
  }
  for (std::uint64_t request = 0; request < 160'000; ++request) {
    for (std::uint64_t reader = 0; reader < 4; ++reader) {
      cache.ask_for(100'000 * (reader + 1) + (request + 4 * reader) / 16);
    }
  }
  EXPECT_GE(cached(cache, 0, 4500), 3800U);
}

TEST(LruPolicyBeside, LosesAllToAReaderOfTheWholeDisk) {
  PolicyCache cache(make_eviction_policy(CachePolicy::lru), 1000);
  for (int round = 0; round < 3; ++round) fill(cache, 0, 700);
  scan(cache, 10'000, 50'000, 1);
  EXPECT_EQ(cached(cache, 0, 700), 0U);
}

TEST(S3FifoPolicy, MakesWayForANewWorkingSet) {
  PolicyCache cache = s3_fifo_cache(1000);
  for (int round = 0; round < 3; ++round) fill(cache, 0, 700);
  for (int round = 0; round < 20; ++round) fill(cache, 5000, 700);
  EXPECT_GE(cached(cache, 5000, 700), 690U);
}

TEST(S3FifoPolicy, PassesOverWhatMayNotGoAndLeavesItInItsPlace) {
  PolicyCache cache = s3_fifo_cache(6);
  fill(cache, 1, 6);
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block >= 4; }), 4U);
  EXPECT_EQ(cache.order(), (Blocks{1, 2, 3, 4, 5, 6}));
}

TEST(S3FifoPolicy, LooksInMainWhenNothingNewMayGo) {
  PolicyCache cache = s3_fifo_cache(8);
  fill(cache, 1, 9);
  cache.ask_for(1);  // a ghost: into main
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block == 1; }), 1U);
}

TEST(S3FifoPolicy, LooksAmongTheNewWhenNothingInMainMayGo) {
  PolicyCache cache = s3_fifo_cache(40);
  fill(cache, 0, 20);
  fill(cache, 100, 1);  // an epoch begins
  fill(cache, 0, 20);
  ASSERT_EQ(cache.order().front(), 100U);  // alone in small: main is asked first
  EXPECT_EQ(cache.victim(yes), 0U);
  EXPECT_EQ(cache.victim([](std::uint64_t block) { return block == 100; }), 100U);
}

TEST(S3FifoPolicy, FindsAVictimAtOnceWhenEverythingIsInUse) {
  PolicyCache cache = s3_fifo_cache(10'000);
  fill(cache, 0, 10'000);
  int asked = 0;
  const auto count = [&](std::uint64_t) { return ++asked > 0; };
  for (std::uint64_t round = 0; round < 4; ++round) {
    fill(cache, 0, 10'000);
    const std::uint64_t victim = cache.victim(count);
    ASSERT_NE(victim, PolicyCache::kNone);
    cache.evict(victim);
    fill(cache, 20'000 + round, 1);
  }
  EXPECT_EQ(asked, 4);
}

TEST(S3FifoPolicy, AsksAboutSomeTensOfEachQueueAtMost) {
  PolicyCache cache = s3_fifo_cache(2000);
  fill(cache, 0, 1000);
  fill(cache, 3000, 100);
  fill(cache, 0, 1000);
  fill(cache, 5000, 800);
  int asked = 0;
  EXPECT_EQ(cache.victim([&](std::uint64_t) { return ++asked > 1000; }), PolicyCache::kNone);
  EXPECT_EQ(asked, 3 * 64);  // small, main without what is in use, main with it
}

TEST(S3FifoPolicy, ShowsEverySlotOnceAndNoMoreThanIsAskedFor) {
  PolicyCache cache = s3_fifo_cache(8);
  fill(cache, 1, 9);
  cache.ask_for(1);  // a ghost: into main
  cache.ask_for(5);  // new until now
  EXPECT_EQ(cache.order(), (Blocks{3, 4, 6, 7, 8, 9, 1, 5}));
  for (int wanted = 1; wanted <= 8; ++wanted) {
    int shown = 0;
    cache.policy().in_eviction_order([&](Slot) { return ++shown < wanted; });
    EXPECT_EQ(shown, wanted);
  }
}

}  // namespace
}  // namespace nbdstack
