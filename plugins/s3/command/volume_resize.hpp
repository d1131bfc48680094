// Runs `resize`: records another size, and ensures that everything behind the end of a disk is
// zeros. A disk that grows must not bring back what an earlier, smaller one had cut off.
//
//   to        steps
//   larger    clears behind the old end, then records the new size
//   smaller   records the new size, then clears behind it; only if the user allows it
//   the same  clears behind the end, which finishes an interrupted resize
//
// Clearing removes the objects behind the last block in bulk, and rewrites the last block if the
// disk ends inside it and anything but zeros follows. Interrupted at any point, the volume has its
// old or its new size and all its data; the remains behind its end are cleared by the next resize,
// in either direction.
//
// The caller has the lease, and took it before it read the descriptor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/command/block_removal.hpp"
#include "plugins/s3/layout/stored_descriptor.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct ResizeRequest {
  std::string key;  // of the volume
  std::uint64_t new_size_bytes = 0;
  bool may_shrink = false;
  std::optional<std::string> passphrase{};
};

struct ResizeResult {
  std::uint64_t old_size_bytes = 0;
  std::uint64_t removed_objects = 0;
};

// Throws Error: EINVAL for an impossible size, a smaller one that is not allowed, or a missing
// passphrase; EACCES for a wrong one; EBUSY if the descriptor has changed; the store's own and
// those of options.check_writable.
ResizeResult resize_volume(ObjectStore& store, const StoredDescriptor& stored,
                           const ResizeRequest& request, const ChangeOptions& options);

}  // namespace nbdstack
