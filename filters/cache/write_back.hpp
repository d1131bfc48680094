// The records of a write-back while it runs (write_back.cpp, relief.cpp).
#pragma once

#include <optional>
#include <vector>

#include "common/error.hpp"
#include "filters/cache/block_cache.hpp"
#include "filters/cache/write_plan.hpp"

namespace nbdstack {

// One caller's write-back. What several of its groups change at once is protected by
// BlockCache::mutex_.
struct BlockCache::WriteBack {
  Layer& below;
  Durability durability = Durability::on_flush;
  Range wanted;  // with FUA: the bytes that have to be durable
  // Somebody else is writing these back, or changing them below.
  std::vector<BlockNumber> busy;
  std::vector<Range> busy_zeros;
  std::uint64_t durable_bytes = 0;  // of the blocks in `wanted`: sent by us, and nobody else
  std::size_t written = 0;          // groups and ranges of zeros
  std::size_t failures = 0;         // the same
  std::optional<Error> failure;     // the first one
};

// Blocks that go below together. From claim_group() to finish_group() their range is registered in
// BlockCache::write_backs_, and they are pinned and `writing`.
struct BlockCache::WriteBackGroup {
  struct Block {
    Slot slot = kNoSlot;
    BlockNumber number;
    bool all_wanted = false;  // every page that has to be durable is among those sent
  };
  std::list<Range>::iterator registered;
  std::vector<Block> blocks;
  std::vector<BlockToWrite> pages;  // of `blocks`, as they were claimed
  std::vector<WriteRequest> requests;
  std::vector<std::vector<std::byte>> data;  // of `requests`; empty for zeros
  std::vector<Range> failed;                 // of `requests`
  std::optional<Error> failure;
};

}  // namespace nbdstack
