#include "filters/cache/policy/protected_policy.hpp"

namespace nbdstack {

void ProtectedPolicy::inserted(Slot slot, BlockNumber block) {
  table_->make_room_for(slot);
  const unsigned others = table_->mark(slot) & ~unsigned{kMarkBits};
  const unsigned mine = block.value < protect_blocks_ ? kMarkBits : 0;
  table_->set_mark(slot, static_cast<std::uint8_t>(others | mine));
  part_of(slot).inserted(slot, block);
}

Slot ProtectedPolicy::victim(const std::function<bool(Slot)>& may_go) {
  const Slot slot = rest_->victim(may_go);
  return slot != kNoSlot ? slot : protected_->victim(may_go);
}

void ProtectedPolicy::in_eviction_order(const std::function<bool(Slot)>& visit) const {
  bool go_on = true;
  const auto watched = [&](Slot slot) { return go_on = visit(slot); };
  rest_->in_eviction_order(watched);
  if (go_on) protected_->in_eviction_order(watched);
}

}  // namespace nbdstack
