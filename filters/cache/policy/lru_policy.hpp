// Least recently used: evicts the block whose last use is the longest ago.
//
// It has nothing to tune, and is hard to beat by much while the blocks in use fit. Its weakness is
// a scan: a reader of the whole disk, such as a backup, replaces all cached blocks with blocks that
// are never used again. S3FifoPolicy resists that.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "filters/cache/policy/eviction_policy.hpp"
#include "filters/cache/policy/slot_queue.hpp"

namespace nbdstack {

class LruPolicy final : public EvictionPolicy {
 public:
  // Policies for other slots may share the table.
  explicit LruPolicy(std::shared_ptr<SlotTable> table)
      : table_(std::move(table)), recency_(*table_) {}

  void inserted(Slot slot, BlockNumber /*block*/) override {
    table_->make_room_for(slot);
    recency_.push(slot);
  }
  void used(Slot slot) override { recency_.renew(slot); }
  void removed(Slot slot, BlockNumber /*block*/, Removal /*why*/) override {
    recency_.remove(slot);
  }

  [[nodiscard]] Slot victim(const std::function<bool(Slot)>& may_go) override;
  void in_eviction_order(const std::function<bool(Slot)>& visit) const override;
  [[nodiscard]] std::size_t size() const override { return recency_.size(); }

 private:
  std::shared_ptr<SlotTable> table_;
  SlotQueue recency_;
};

}  // namespace nbdstack
