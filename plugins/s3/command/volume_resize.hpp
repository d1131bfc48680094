// What `resize` does: records another size, and sees to it that what lies behind the end of a disk
// is zeros. A disk that grows must not bring back what an earlier, smaller one had cut off.
//
//   to        steps
//   larger    clears what lies behind the old end, then records the new size
//   smaller   records the new size, then clears what lies behind it; only if that is asked for
//   the same  clears what lies behind the end: finishes one that was interrupted
//
// Clearing removes the objects behind the last block in bulk, and rewrites the last block where
// the disk ends inside it and anything but zeros follows. Interrupted at any point, the volume has
// its old or its new size and all its data; what is left behind its end is cleared by the next
// resize, whichever way it goes.
//
// The caller has the lease, and got it before he read the descriptor.
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

// Throws Error: EINVAL for a size that is not possible, to make smaller what must not be, or for a
// passphrase that is missing; EACCES for a wrong one; EBUSY where the descriptor has changed; the
// store's own and what options.check_writable throws.
ResizeResult resize_volume(ObjectStore& store, const StoredDescriptor& stored,
                           const ResizeRequest& request, const ChangeOptions& options);

}  // namespace nbdstack
