// Whether what a cache directory calls clean is what the disk below holds: for disks that do not
// tell who they are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/block/layer.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

struct ContentCheck {
  std::size_t compared = 0;              // blocks
  std::optional<std::uint64_t> differs;  // the offset of the first block that is not the same
};

// Reads a few blocks of which the cache holds clean pages from below, among them the first and the
// last one, and others that `seed` chooses, and compares. Damaged blocks are left out.
ContentCheck compare_with_disk(const SlotIndex& index, const PageFiles& files, Layer& below,
                               std::uint64_t seed);

}  // namespace nbdstack
