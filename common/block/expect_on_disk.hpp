// The invariant of a layer's two borders: the range of every request lies on the disk, both of the
// client's and of the request that it becomes below (common/block/layer.hpp).
#pragma once

#include <cstdint>

#include "common/block/range.hpp"
#include "common/invariant.hpp"

namespace nbdstack {

inline void expect_on_disk(const Range& range, std::uint64_t size_bytes) {
  INVARIANT(range.offset <= size_bytes && range.length <= size_bytes - range.offset, range.offset,
            range.length, size_bytes);
}

}  // namespace nbdstack
