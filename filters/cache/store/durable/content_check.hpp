// Compares clean blocks of a cache directory with the disk below, for disks without an identity.
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
  std::optional<std::uint64_t> differs;  // the offset of the first block that differs
};

// Reads a few blocks with clean pages in the cache from below, including the first and the last one
// and others that `seed` chooses, and compares. Damaged blocks are left out.
ContentCheck compare_with_disk(const SlotIndex& index, const PageFiles& files, Layer& below,
                               std::uint64_t seed);

}  // namespace nbdstack
