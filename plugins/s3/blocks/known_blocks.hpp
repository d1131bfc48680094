// Certain knowledge about the blocks of a volume: runs of blocks that have an object, and runs of
// blocks that have none. Blocks in no run are unknown.
#pragma once

#include <vector>

#include "common/block/range.hpp"

namespace nbdstack {

struct KnownRun {
  Range blocks;  // half-open, of block numbers
  bool stored = false;

  friend bool operator==(const KnownRun&, const KnownRun&) = default;
};

// Ascending; no two overlap.
using KnownBlocks = std::vector<KnownRun>;

// Returns the knowledge about a new volume: no block is stored.
inline KnownBlocks no_blocks_stored(std::uint64_t block_count) {
  if (block_count == 0) return {};
  return {{.blocks = {0, block_count}, .stored = false}};
}

}  // namespace nbdstack
