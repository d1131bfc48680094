#include "filters/cache/policy/lru_policy.hpp"

namespace nbdstack {

Slot LruPolicy::victim(const std::function<bool(Slot)>& may_go) {
  return recency_.oldest_that(may_go, kMostLookedAt);
}

void LruPolicy::in_eviction_order(const std::function<bool(Slot)>& visit) const {
  recency_.visit_from_oldest(visit);
}

}  // namespace nbdstack
