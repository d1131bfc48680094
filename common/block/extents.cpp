#include "common/block/extents.hpp"

namespace nbdstack {

void ExtentList::append(const Range& range, ExtentType type) {
  if (range.empty()) return;
  if (!extents_.empty() && extents_.back().type == type) {
    extents_.back().range.length += range.length;
    return;
  }
  extents_.push_back({range, type});
}

// Both lists are sorted, so one pass over them in step is enough.
void ExtentList::overlay(const std::vector<Extent>& known) {
  ExtentList result;
  auto next = known.begin();
  for (const Extent& extent : extents_) {
    std::uint64_t position = extent.range.offset;
    while (position < extent.range.end()) {
      while (next != known.end() && next->range.end() <= position) ++next;
      const Range rest{position, extent.range.end() - position};
      if (next == known.end() || next->range.offset >= rest.end()) {
        result.append(rest, extent.type);
        position = rest.end();
      } else if (next->range.offset > position) {
        result.append({position, next->range.offset - position}, extent.type);
        position = next->range.offset;
      } else {
        const Range covered = rest.intersection(next->range);
        result.append(covered, next->type);
        position = covered.end();
      }
    }
  }
  extents_ = std::move(result.extents_);
}

}  // namespace nbdstack
