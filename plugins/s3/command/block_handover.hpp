// What a volume remembers of its blocks (block_memory.hpp), handed on by a verb that has the lease
// between two servers: the record counts only if nobody has had the lease since.
#pragma once

#include <cstdint>

#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

RememberedVolume remembered(const FoundVolume& volume);  // one of our own

// After a removal of the blocks [first, end), by listings and by what was recorded of the volume.
void say_what_may_be_left(const ObjectStore& store, const KnownBlocks& recorded,
                          std::uint64_t first, std::uint64_t end);

class BlockHandover {
 public:
  // All outlive this.
  BlockHandover(ObjectStore& store, const Lease& lease, const Processes& processes)
      : store_(store), lease_(lease), processes_(processes) {}

  // What is certain, for who has just taken the lease; nothing where that is not recorded.
  [[nodiscard]] KnownBlocks recall(const RememberedVolume& volume) const;

  // To be called after the last change of a block, and before the lease is given back. Of a volume
  // that is longer now, what lies behind the former end is not known. Writes nothing where nothing
  // is known; what fails is logged.
  void hand_on(const RememberedVolume& volume, const KnownBlocks& known) const;

 private:
  [[nodiscard]] bool is_recorded() const;

  ObjectStore& store_;
  const Lease& lease_;
  const Processes& processes_;
};

}  // namespace nbdstack
