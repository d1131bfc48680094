#include "filters/cache/engine/block_cache.hpp"

#include <algorithm>
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

// For unwritten content the cache's state is true, whatever the layer below reports. It is read
// before the layer below is queried: a block that is written back in between is either below by
// then or still in the result, so written data never looks like a hole.
void BlockCache::extents(Layer& below, const Range& range, bool only_one, ExtentList& extents) {
  std::vector<Extent> unwritten;
  {
    MutexLock lock(state_.mutex);
    for (const auto& run : state_.residents.zeros().overlapping(range)) {
      unwritten.push_back({run.range, {.hole = run.value, .zero = true}});
    }
    for (const BlockNumber block : state_.residents.unwritten_blocks(range)) {
      const Slot slot = state_.residents.find(block);
      const Pages pages = state_.residents.pages(slot);
      const PageMask shown = state_.residents[slot].writing ? pages.valid : pages.unwritten();
      const Range whole = state_.geometry.range_of(block);
      const auto show = [&](PageMask mask, ExtentType type) {
        state_.pages.for_each_run(mask, whole.length,
                                  [&](std::uint32_t offset, std::uint32_t length) {
                                    unwritten.push_back({{whole.offset + offset, length}, type});
                                  });
      };
      show(shown & ~pages.zero, kData);
      show(shown & pages.zero & pages.hole, kHole);
      show(shown & pages.zero & ~pages.hole, {.hole = false, .zero = true});
    }
  }
  std::sort(unwritten.begin(), unwritten.end(),
            [](const Extent& a, const Extent& b) { return a.range.offset < b.range.offset; });
  ExtentList found;
  below.extents(range.length, range.offset, only_one, found);
  // The layer below may end early, for instance at a hole. The query was for the whole range
  // nevertheless, so its answer is valid.
  found.overlay(unwritten);
  for (const Extent& extent : found.all()) {
    extents.append(extent.range, extent.type);
    if (only_one) break;
  }
}

}  // namespace nbdstack
