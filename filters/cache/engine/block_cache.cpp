#include "filters/cache/engine/block_cache.hpp"

#include <vector>

namespace nbdstack {

void BlockCache::close() {
  if (!state_.store->is_durable()) return;
  MutexLock lock(state_.mutex);
  const std::vector<Slot> order = state_.residents.in_eviction_order();
  lock.unlock();
  state_.commit();
  state_.store->close(order);
}

std::uint64_t BlockCache::cached_bytes() const {
  const MutexLock lock(state_.mutex);
  return state_.residents.cached_bytes();
}

std::uint64_t BlockCache::unwritten_bytes() const {
  const MutexLock lock(state_.mutex);
  return state_.residents.unwritten_bytes();
}

bool BlockCache::has_unwritten() const {
  const MutexLock lock(state_.mutex);
  return state_.residents.has_unwritten();
}

std::size_t BlockCache::waiting_for_fetches() const {
  const MutexLock lock(state_.mutex);
  return state_.fetches.waiting();
}

}  // namespace nbdstack
