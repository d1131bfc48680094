// Chooses the block to evict: the interface between the cache and a replacement policy.
//
// A policy orders slots. It does no I/O and no locking: the owner holds its mutex around every
// call. It does not know which blocks are dirty or in use, so it offers victims and the owner
// decides.
//
// The policies are in policy/, and policy/make_policy.hpp makes one. None knows the bound of the
// cache: shares and memory follow from the cached blocks.
//
// Errors: inserted() may throw std::bad_alloc, and then the slot is not in the policy. Nothing else
// fails. The owner's callbacks must not do I/O or change the policy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "common/block/range.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

class EvictionPolicy {
 public:
  EvictionPolicy() = default;
  EvictionPolicy(const EvictionPolicy&) = delete;
  EvictionPolicy& operator=(const EvictionPolicy&) = delete;
  virtual ~EvictionPolicy() = default;

  enum class Removal : std::uint8_t {
    evicted,  // to make room: a policy may remember the block, to learn whether it comes back
    dropped,  // its content is useless
  };

  // A slot is inserted once, may be used any number of times, and is removed once, with the block
  // that it was inserted with; then it may be inserted again.
  virtual void inserted(Slot slot, BlockNumber block) = 0;
  virtual void used(Slot slot) = 0;
  virtual void removed(Slot slot, BlockNumber block, Removal why) = 0;

  // Returns the best victim that `may_go` allows, or kNoSlot. It stays in the policy until
  // removed(). Calls `may_go` for some tens of slots at most: if none of the best may be evicted,
  // blocks have to be written back first, and a longer search would only take time while the cache
  // is busy.
  [[nodiscard]] virtual Slot victim(const std::function<bool(Slot)>& may_go) = 0;
  // Visits slots in about the order in which they would be evicted, until `visit` returns false.
  virtual void in_eviction_order(const std::function<bool(Slot)>& visit) const = 0;
  [[nodiscard]] virtual std::size_t size() const = 0;

 protected:
  // The number of slots of one queue that a search for a victim considers.
  static constexpr std::size_t kMostLookedAt = 64;
};

enum class CachePolicy : std::uint8_t { lru, s3fifo };

// Returns the value of cache-policy, which benchmarks use too, or null if there is no such policy.
constexpr const char* word_of(CachePolicy policy) {
  switch (policy) {
    case CachePolicy::lru:
      return "lru";
    case CachePolicy::s3fifo:
      return "s3fifo";
  }
  return nullptr;
}

// All policies with a word. A new one is complete when the compiler does not warn: every decision
// is a switch.
inline constexpr auto kCachePolicies = [] {
  constexpr auto policy_at = [](std::size_t number) { return static_cast<CachePolicy>(number); };
  constexpr std::size_t kCount = [=] {
    std::size_t count = 0;
    while (word_of(policy_at(count)) != nullptr) ++count;
    return count;
  }();
  std::array<CachePolicy, kCount> all{};
  for (std::size_t number = 0; number < kCount; ++number) all[number] = policy_at(number);
  return all;
}();

}  // namespace nbdstack
