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

// What is unwritten is what the cache says it is, whatever the layer below says of it. The blocks
// are looked up before the layer below is asked: one written back in between is there already by
// then or still counted here, so no moment exists in which written data looks like a hole.
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
  // The layer below may end early, at a hole say. It is asked about the whole range all the same,
  // so its answer stands.
  found.overlay(unwritten);
  for (const Extent& extent : found.all()) {
    extents.append(extent.range, extent.type);
    if (only_one) break;
  }
}

}  // namespace nbdstack
