#include <algorithm>

#include "filters/cache/block_cache.hpp"

namespace nbdstack {

// What is unwritten is data, whatever the layer below says of it. The blocks are looked up before
// the layer below is asked: one written back in between is data there already by then or still
// counted here, so no moment exists in which it looks like a hole.
void BlockCache::extents(Layer& below, const Range& range, bool only_one, ExtentList& extents) {
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  std::vector<Range> unwritten;
  {
    Lock lock(mutex_);
    for (const BlockNumber block : unwritten_blocks(lock, first, end)) {
      unwritten.push_back(geometry_.range_of(block));
    }
  }
  ExtentList found;
  below.extents(range.length, range.offset, only_one, found);
  // The layer below may end early, at a hole say. It is asked about the whole range all the same,
  // so its answer stands.
  found.overlay_data(unwritten);
  for (const Extent& extent : found.all()) {
    extents.append(extent.range, extent.type);
    if (only_one) break;
  }
}

}  // namespace nbdstack
