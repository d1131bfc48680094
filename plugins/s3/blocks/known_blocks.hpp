// What is certain about the blocks of a volume: these have an object, those have none. Blocks in no
// run are unknown.
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

// For a volume that was created just now: nothing is stored.
inline KnownBlocks no_blocks_stored(std::uint64_t block_count) {
  if (block_count == 0) return {};
  return {{.blocks = {0, block_count}, .stored = false}};
}

}  // namespace nbdstack
