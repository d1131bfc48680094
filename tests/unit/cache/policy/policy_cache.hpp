// A cache of so many slots without content: a policy as its owner uses it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "filters/cache/policy/eviction_policy.hpp"

namespace nbdstack {

inline bool anything(Slot /*slot*/) {
  return true;
}

class PolicyCache {
 public:
  PolicyCache(std::unique_ptr<EvictionPolicy> policy, Slot slots)
      : policy_(std::move(policy)), slots_(slots) {}

  // Uses a block or, where it is not cached, inserts it in the place of a victim. Whether it was.
  bool ask_for(std::uint64_t block) {
    if (const auto found = slot_of_.find(block); found != slot_of_.end()) {
      policy_->used(found->second);
      return true;
    }
    if (slot_of_.size() == slots_)
      remove(policy_->victim(anything), EvictionPolicy::Removal::evicted);
    Slot slot = static_cast<Slot>(block_of_.size());
    if (free_.empty()) {
      block_of_.push_back(block);
    } else {
      slot = free_.back();
      free_.pop_back();
      block_of_[slot] = block;
    }
    slot_of_.emplace(block, slot);
    policy_->inserted(slot, {block});
    return false;
  }

  void drop(std::uint64_t block) { remove(slot_of_.at(block), EvictionPolicy::Removal::dropped); }
  void evict(std::uint64_t block) { remove(slot_of_.at(block), EvictionPolicy::Removal::evicted); }

  [[nodiscard]] bool has(std::uint64_t block) const { return slot_of_.contains(block); }
  [[nodiscard]] std::uint64_t block_of(Slot slot) const { return block_of_[slot]; }
  [[nodiscard]] EvictionPolicy& policy() { return *policy_; }

  // The block that the policy offers among those that `may_go` (of blocks) says yes to, or kNone.
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::uint64_t victim(const std::function<bool(std::uint64_t)>& may_go) {
    const Slot slot = policy_->victim([&](Slot asked) { return may_go(block_of_[asked]); });
    return slot == kNoSlot ? kNone : block_of_[slot];
  }

  // The cached blocks, the next victim first.
  [[nodiscard]] std::vector<std::uint64_t> order() const {
    std::vector<std::uint64_t> blocks;
    policy_->in_eviction_order([&](Slot slot) {
      blocks.push_back(block_of_[slot]);
      return true;
    });
    return blocks;
  }

 private:
  void remove(Slot slot, EvictionPolicy::Removal why) {
    slot_of_.erase(block_of_[slot]);
    free_.push_back(slot);
    policy_->removed(slot, {block_of_[slot]}, why);
  }

  std::unique_ptr<EvictionPolicy> policy_;
  Slot slots_;
  std::unordered_map<std::uint64_t, Slot> slot_of_;
  std::vector<std::uint64_t> block_of_;
  std::vector<Slot> free_;
};

}  // namespace nbdstack
