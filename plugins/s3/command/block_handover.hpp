// Passes on what a volume remembers of its blocks (block_memory.hpp), for a verb that has the lease
// between two servers: the record counts only if no other owner has had the lease since.
#pragma once

#include <cstdint>

#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/blocks/known_blocks.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

RememberedVolume remembered(const FoundVolume& volume);  // for volumes of our own

// Warns, after a removal of [first, end), unless listings or `recorded` prove that nothing is left.
void say_what_may_be_left(const ObjectStore& store, const KnownBlocks& recorded,
                          std::uint64_t first, std::uint64_t end);

class BlockHandover {
 public:
  // All outlive this.
  BlockHandover(ObjectStore& store, const Lease& lease, const Processes& processes)
      : store_(store), lease_(lease), processes_(processes) {}

  // Returns the record for the owner that has just taken the lease, or nothing if there is none.
  [[nodiscard]] KnownBlocks recall(const RememberedVolume& volume) const;

  // Called after the last change of a block, and before the lease is released. If the volume is
  // longer now, blocks behind the former end are not known. Writes nothing if `known` is empty, and
  // logs failures.
  void hand_on(const RememberedVolume& volume, const KnownBlocks& known) const;

 private:
  [[nodiscard]] bool is_recorded() const;

  ObjectStore& store_;
  const Lease& lease_;
  const Processes& processes_;
};

}  // namespace nbdstack
