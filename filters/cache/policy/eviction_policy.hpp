// Which block goes when room is needed: the seam between the cache and a replacement policy.
//
// A policy orders slots. It does no I/O and no locking: the owner holds its mutex around every
// call. It does not know what is dirty or in use, so it offers victims and the owner says which
// may go.
//
// The policies are in policy/, and policy/make_policy.hpp makes one. None is told how large the
// cache may become: shares and memory follow from what is cached.
//
// Errors: inserted() may throw std::bad_alloc, and then the slot is not in the policy. Nothing else
// fails. The functions that the owner passes may do neither I/O nor change the policy.
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
    evicted,  // to make room: worth remembering by a policy that learns from what comes back
    dropped,  // its content is of no use any more
  };

  // A slot is inserted once, may be used any number of times, and is removed once, with the number
  // that it was inserted with; then it may be inserted again.
  virtual void inserted(Slot slot, BlockNumber block) = 0;
  virtual void used(Slot slot) = 0;
  virtual void removed(Slot slot, BlockNumber block, Removal why) = 0;

  // The best victim among those that `may_go` says yes to, or kNoSlot. It stays in the policy until
  // removed(). Asks about some tens of slots at most: when the best of them may all not go,
  // somebody has to write back first, and looking further would only make the search long while the
  // cache is busy.
  [[nodiscard]] virtual Slot victim(const std::function<bool(Slot)>& may_go) = 0;
  // Shows slots in about the order in which they would be evicted, until `visit` returns false.
  virtual void in_eviction_order(const std::function<bool(Slot)>& visit) const = 0;
  [[nodiscard]] virtual std::size_t size() const = 0;

 protected:
  // How many slots of one queue a search for a victim looks at.
  static constexpr std::size_t kMostLookedAt = 64;
};

enum class CachePolicy : std::uint8_t { lru, s3fifo };

// The values of cache-policy, by which benchmarks call them too. Null: there is no such policy.
constexpr const char* word_of(CachePolicy policy) {
  switch (policy) {
    case CachePolicy::lru:
      return "lru";
    case CachePolicy::s3fifo:
      return "s3fifo";
  }
  return nullptr;
}

// All that have a word. A new one is complete when the compiler has nothing to say: each place that
// has to decide is a switch.
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
