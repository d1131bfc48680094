// The first part of the disk is evicted last.
//
// For what is small and needed for anything else: the start of a disk with its partition table and
// boot loader, or the part that holds a file system's metadata. Blocks below the border live in one
// policy, the others in a second one, which is asked for victims first. Protected blocks go, in the
// order of their own policy, only when the other one offers none: it is empty, or none of its best
// may go. (They do go then: a cache that could free a block and does not would make writers wait,
// and with the layer below out of order fail, for the sake of clean data.)
//
// Both policies work on one SlotTable, so protection costs no memory: which one has a slot is a bit
// of its mark that neither uses. (Ghosts are remembered by each part on its own, as many as it has
// had blocks at most.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "filters/cache/policy/eviction_policy.hpp"
#include "filters/cache/policy/slot_queue.hpp"

namespace nbdstack {

class ProtectedPolicy final : public EvictionPolicy {
 public:
  static constexpr std::uint8_t kMarkBits = 0x80;

  // Blocks 0 ... protect_blocks - 1 are protected. Both policies work on `table`.
  ProtectedPolicy(std::uint64_t protect_blocks, std::shared_ptr<SlotTable> table,
                  std::unique_ptr<EvictionPolicy> protected_part,
                  std::unique_ptr<EvictionPolicy> rest)
      : protect_blocks_(protect_blocks),
        table_(std::move(table)),
        protected_(std::move(protected_part)),
        rest_(std::move(rest)) {}

  void inserted(Slot slot, BlockNumber block) override;
  void used(Slot slot) override { part_of(slot).used(slot); }
  void removed(Slot slot, BlockNumber block, Removal why) override {
    part_of(slot).removed(slot, block, why);
  }
  [[nodiscard]] Slot victim(const std::function<bool(Slot)>& may_go) override;
  void in_eviction_order(const std::function<bool(Slot)>& visit) const override;
  [[nodiscard]] std::size_t size() const override { return protected_->size() + rest_->size(); }

 private:
  [[nodiscard]] EvictionPolicy& part_of(Slot slot) {
    return (table_->mark(slot) & kMarkBits) != 0 ? *protected_ : *rest_;
  }

  std::uint64_t protect_blocks_;
  std::shared_ptr<SlotTable> table_;
  std::unique_ptr<EvictionPolicy> protected_;
  std::unique_ptr<EvictionPolicy> rest_;
};

}  // namespace nbdstack
