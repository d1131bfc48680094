#include <algorithm>

#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

// What is unwritten is what the cache says it is, whatever the layer below says of it. The blocks
// are looked up before the layer below is asked: one written back in between is there already by
// then or still counted here, so no moment exists in which written data looks like a hole.
void BlockCache::extents(Layer& below, const Range& range, bool only_one, ExtentList& extents) {
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  std::vector<Extent> unwritten;
  {
    MutexLock lock(mutex_);
    for (const auto& run : residents_.zeros().overlapping(range)) {
      unwritten.push_back({run.range, {.hole = run.value, .zero = true}});
    }
    for (const BlockNumber block : residents_.unwritten_blocks(first, end)) {
      const Slot slot = residents_.find(block);
      const Pages pages = residents_.pages(slot);
      const PageMask shown = residents_[slot].writing ? pages.valid : pages.unwritten();
      const Range whole = geometry_.range_of(block);
      const auto show = [&](PageMask mask, ExtentType type) {
        for_each_page_run(mask, [&](unsigned at, unsigned count) {
          const std::uint64_t begin = whole.offset + pages_.offset_of(at);
          const std::uint64_t stop =
              std::min(whole.end(), begin + std::uint64_t{count} * pages_.page_size());
          unwritten.push_back({{begin, stop - begin}, type});
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
