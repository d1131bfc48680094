// A change of a range that happens in the layer below, around the cache.
#pragma once

#include <list>
#include <vector>

#include "filters/cache/block_cache.hpp"

namespace nbdstack {

// From construction to destruction the blocks of the range that are cached are held: neither
// written back nor evicted, and no write-back of them is under way. Nothing that is fetched from
// below meanwhile is shared or stored. The owner owns the range in BlockCache::changes_, so no
// other change of the same bytes runs.
class BlockCache::Bypass {
 public:
  Bypass(BlockCache& cache, const Range& range);
  Bypass(const Bypass&) = delete;
  Bypass& operator=(const Bypass&) = delete;
  ~Bypass();

  // The change failed: nobody knows what the layer below holds now. What is clean is forgotten;
  // what is dirty will be written.
  void forget_clean();
  // The change succeeded: applies it to what is cached. Whole blocks are dropped, and parts of
  // blocks become zeros.
  void apply_zeros();
  // The same for a trim, after which the content is unspecified: whole blocks are dropped.
  void drop_whole_blocks();
  // The same for a write: parts and whole blocks alike take the data that went below.
  void apply_data(std::span<const std::byte> data);

 private:
  [[nodiscard]] std::vector<Slot> cached(Lock& lock) const;
  void store_absent(BlockNumber block, std::span<const std::byte> data);
  void write_slots(const std::function<std::span<const std::byte>(const BlockPiece&)>& data_of);

  BlockCache& cache_;
  const Range range_;
  std::list<Range>::iterator registered_;
  std::vector<Slot> held_;
};

}  // namespace nbdstack
