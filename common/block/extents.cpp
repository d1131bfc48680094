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

// `ranges` is sorted and disjoint, so one pass over both lists in step is enough.
void ExtentList::overlay_data(const std::vector<Range>& ranges) {
  ExtentList result;
  auto data = ranges.begin();
  for (const Extent& extent : extents_) {
    std::uint64_t position = extent.range.offset;
    while (position < extent.range.end()) {
      while (data != ranges.end() && data->end() <= position) ++data;
      const Range rest{position, extent.range.end() - position};
      if (data == ranges.end() || data->offset >= rest.end()) {
        result.append(rest, extent.type);
        position = rest.end();
      } else if (data->offset > position) {
        result.append({position, data->offset - position}, extent.type);
        position = data->offset;
      } else {
        const Range covered = rest.intersection(*data);
        result.append(covered, kData);
        position = covered.end();
      }
    }
  }
  extents_ = std::move(result.extents_);
}

}  // namespace nbdstack
