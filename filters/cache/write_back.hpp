// The records of a write-back while it runs (write_back.cpp, relief.cpp).
#pragma once

#include <optional>
#include <vector>

#include "common/error.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {

// Consecutive blocks that have been marked as being written back by one caller, and are pinned by
// it.
struct BlockCache::WriteBackRun {
  Range range;
  std::vector<Slot> slots;
};

// One caller's write-back. What several of its groups change at once is protected by
// BlockCache::mutex_.
struct BlockCache::WriteBack {
  Layer& below;
  Durability durability = Durability::on_flush;
  std::vector<BlockNumber> busy;  // somebody else is writing them back, or changing them below
  std::size_t written_blocks = 0;
  std::size_t failed_runs = 0;
  std::optional<Error> failure;  // the first one
};

}  // namespace nbdstack
