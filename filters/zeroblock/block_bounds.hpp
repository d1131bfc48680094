// The whole blocks around a range of a disk, and those inside it.
#pragma once

#include <cstdint>

#include "common/block/range.hpp"

namespace nbdstack {

// All blocks that `range` touches. `range` is not empty and lies inside the disk.
inline Range blocks_around(const BlockGeometry& geometry, const Range& range) {
  const std::uint64_t first = geometry.offset_of(geometry.block_at(range.offset));
  return {first, geometry.range_of(geometry.block_at(range.end() - 1)).end() - first};
}

// All blocks that lie whole in `range`, or an empty range; the disk's last block may be short.
// `range` is not empty and lies inside the disk.
inline Range blocks_inside(const BlockGeometry& geometry, const Range& range) {
  const Range around = blocks_around(geometry, range);
  const std::uint64_t first = around.offset == range.offset
                                  ? range.offset
                                  : geometry.range_of(geometry.block_at(range.offset)).end();
  const std::uint64_t end = around.end() == range.end()
                                ? range.end()
                                : geometry.offset_of(geometry.block_at(range.end() - 1));
  return first < end ? Range{first, end - first} : Range{range.offset, 0};
}

}  // namespace nbdstack
