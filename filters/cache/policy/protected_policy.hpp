// Evicts the first part of the disk last.
//
// This is for small content that everything else needs: the start of a disk with its partition
// table and boot loader, or the part with a file system's metadata. Blocks below the border are in
// one policy, the others in a second one, which offers victims first. Protected blocks are evicted,
// in the order of their own policy, only if the other one offers none: it is empty, or none of its
// best may be evicted. (A cache that kept them even then would make writers wait, and fail if the
// layer below is out of order, only to keep clean data.)
//
// Both policies use one SlotTable, so protection costs no memory: a bit of a slot's mark that
// neither policy uses selects its policy. (Each part remembers ghosts on its own, at most as many
// as it has had blocks.)
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

  // Blocks 0 ... protect_blocks - 1 are protected. Both policies use `table`.
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
