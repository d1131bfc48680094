// What a policy costs a cached block, measured at the allocator; and what it does without memory.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "filters/cache/policy/ghost_table.hpp"
#include "filters/cache/policy/make_policy.hpp"

namespace {

// Bytes that are allocated now. Tests run in one thread.
std::size_t allocated_bytes = 0;
bool memory_is_short = false;  // every allocation fails
constexpr std::size_t kHeader = alignof(std::max_align_t);

}  // namespace

void* operator new(std::size_t size) {
  void* const start = memory_is_short ? nullptr : std::malloc(size + kHeader);
  if (start == nullptr) throw std::bad_alloc();
  *static_cast<std::size_t*>(start) = size;
  allocated_bytes += size;
  return static_cast<std::byte*>(start) + kHeader;
}

void operator delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  void* const start = static_cast<std::byte*>(pointer) - kHeader;
  allocated_bytes -= *static_cast<std::size_t*>(start);
  std::free(start);
}

void operator delete(void* pointer, std::size_t /*size*/) noexcept {
  operator delete(pointer);
}

namespace nbdstack {
namespace {

// Bytes a slot after every one of `slots` has been given to another block of its part three times.
double bytes_per_block(CachePolicy kind, std::uint64_t protect_blocks, Slot slots) {
  const std::size_t before = allocated_bytes;
  const auto policy = make_eviction_policy(kind, protect_blocks);
  const auto block_of = [&](Slot slot, std::uint64_t round) -> BlockNumber {
    if (slot < protect_blocks) return {(slot + round) % protect_blocks};
    return {slot + round * slots};
  };
  for (Slot slot = 0; slot < slots; ++slot) policy->inserted(slot, block_of(slot, 0));
  for (std::uint64_t round = 1; round <= 3; ++round) {
    for (Slot slot = 0; slot < slots; ++slot) {
      policy->removed(slot, block_of(slot, round - 1), EvictionPolicy::Removal::evicted);
      policy->inserted(slot, block_of(slot, round));
    }
  }
  return static_cast<double>(allocated_bytes - before) / slots;
}

constexpr Slot kPowerOfTwo = 1U << 18U;  // ghosts cost most here: the table is as large as allowed
constexpr Slot kSlots = 300'000;
constexpr double kRoundingUp = 0.4;  // the last chunks, and the policy itself

TEST(PolicyMemory, IsEightBytesOfLinksAndOneOfNotesWithLru) {
  EXPECT_LE(bytes_per_block(CachePolicy::lru, 0, kSlots), 9 + kRoundingUp);
  EXPECT_LE(bytes_per_block(CachePolicy::lru, 1000, kSlots), 9 + kRoundingUp);
}

TEST(PolicyMemory, IsFourBytesMoreForGhostsWithS3Fifo) {
  for (const Slot slots : {kPowerOfTwo, kSlots}) {
    EXPECT_LE(bytes_per_block(CachePolicy::s3fifo, 0, slots), 17 + kRoundingUp) << slots;
    EXPECT_LE(bytes_per_block(CachePolicy::s3fifo, slots / 2, slots), 17 + kRoundingUp) << slots;
  }
}

TEST(PolicyMemory, GrowsWithWhatIsCachedNotWithTheDisk) {
  const std::size_t before = allocated_bytes;
  const auto policy = make_eviction_policy(CachePolicy::s3fifo, ~std::uint64_t{0});
  policy->inserted(0, {~std::uint64_t{0} - 1});
  policy->removed(0, {~std::uint64_t{0} - 1}, EvictionPolicy::Removal::evicted);
  EXPECT_LE(allocated_bytes - before, 128U * 1024U);
}

class MemoryShortage {
 public:
  MemoryShortage() { memory_is_short = true; }
  MemoryShortage(const MemoryShortage&) = delete;
  MemoryShortage& operator=(const MemoryShortage&) = delete;
  ~MemoryShortage() { memory_is_short = false; }
};

bool fails_to_insert(EvictionPolicy& policy, Slot slot) {
  const MemoryShortage shortage;
  try {
    policy.inserted(slot, {7});
    return false;
  } catch (const std::bad_alloc&) {
    return true;
  }
}

TEST(PolicyMemory, LeavesASlotOutThatItHasNoRoomFor) {
  for (const CachePolicy kind : kCachePolicies) {
    for (const std::uint64_t protect_blocks : {0, 10}) {
      const auto policy = make_eviction_policy(kind, protect_blocks);
      policy->inserted(0, {1});
      ASSERT_TRUE(fails_to_insert(*policy, 100'000));
      EXPECT_EQ(policy->size(), 1U);
      policy->inserted(100'000, {7});
      EXPECT_EQ(policy->size(), 2U);
      EXPECT_EQ(policy->victim([](Slot slot) { return slot != 0; }), 100'000U);
    }
  }
}

TEST(PolicyMemory, HasTheGhostsItHadWhenThereIsNoRoomForMore) {
  GhostTable ghosts;
  {
    const MemoryShortage shortage;
    ghosts.grow_to(16);
  }
  EXPECT_EQ(ghosts.capacity(), 0U);
  ghosts.grow_to(16);
  ghosts.remember({1});
  {
    const MemoryShortage shortage;
    ghosts.grow_to(1000);
  }
  EXPECT_EQ(ghosts.capacity(), 16U);
  EXPECT_TRUE(ghosts.take({1}));
}

// Ghosts are not paid for by a cache that has never been full.
TEST(PolicyMemory, HasNoGhostsBeforeTheFirstEviction) {
  const std::size_t before = allocated_bytes;
  const auto policy = make_eviction_policy(CachePolicy::s3fifo);
  for (Slot slot = 0; slot < kSlots; ++slot) policy->inserted(slot, {slot});
  EXPECT_LE(static_cast<double>(allocated_bytes - before) / kSlots, 9 + kRoundingUp);
}

}  // namespace
}  // namespace nbdstack
