#include "filters/zeroblock/zero_map.hpp"

#include "filters/zeroblock/block_bounds.hpp"

namespace nbdstack {

std::vector<Extent> ZeroMap::zeros(const Range& range) const {
  const MutexLock lock(mutex_);
  return zeros_locked(range);
}

std::vector<Extent> ZeroMap::zeros_locked(const Range& range) const {
  std::vector<Extent> found;
  for (const auto& run : values_.overlapping(range)) {
    if (run.value.zero) found.push_back({run.range, run.value});
  }
  return found;
}

bool ZeroMap::is_zeros(const Range& range) const {
  return is_all(range, [](ExtentType type) { return type.zero; });
}

bool ZeroMap::is_hole(const Range& range) const {
  return is_all(range, [](ExtentType type) { return type == kHole; });
}

bool ZeroMap::is_all(const Range& range, bool (*accepts)(ExtentType)) const {
  const MutexLock lock(mutex_);
  for (std::uint64_t position = range.offset; position < range.end();) {
    const auto run = values_.find(position);
    if (!run || !accepts(run->value)) return false;
    position = run->range.end();
  }
  return true;
}

std::optional<ZeroMap::Change> ZeroMap::begin_change(const Range& blocks, const Range& owned) {
  const MutexLock lock(mutex_);
  std::vector<Extent> zeros = zeros_locked(blocks);
  for (const Extent& extent : zeros) {
    if (!owned.contains(extent.range)) return std::nullopt;
  }
  for (const Extent& extent : zeros) values_.erase(extent.range);
  make_room(blocks);
  return Change(KnownRanges::begin_change(blocks), std::move(zeros));
}

void ZeroMap::learn(Query& query, std::span<const Extent> found) const {
  std::vector<Extent> whole;
  for (const Extent& extent : found) {
    if (extent.type.hole && !extent.type.zero) continue;
    const Range told = extent.range.intersection(query.range());
    if (!told.empty()) whole.push_back({blocks_inside(geometry_, told), extent.type});
  }
  query.learn(whole);
}

}  // namespace nbdstack
