// Least recently used: what nobody has asked for the longest goes first.
//
// Nothing to tune, and hard to beat by much while the blocks in use fit. Its weakness is a scan: a
// reader of the whole disk, such as a backup, replaces all that is cached by blocks that nobody
// asks for again. S3FifoPolicy is the one for that.
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
  // The table may be shared with policies whose slots are others.
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
