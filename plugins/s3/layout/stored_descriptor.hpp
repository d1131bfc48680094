// The descriptor of a volume as it lies in a store: reading it, and putting a changed one in the
// place of the very one that was read.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/layout/object_names.hpp"
#include "plugins/s3/layout/volume_descriptor.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct StoredDescriptor {
  VolumeDescriptor descriptor;
  std::string name;  // of the object
  std::string text;
  std::string etag;
};

// Nothing: there is none. Throws Error(EINVAL) for one that cannot be understood, and the store's
// own errors.
std::optional<StoredDescriptor> read_descriptor(ObjectStore& store, const ObjectNames& names);

// `changed` takes the place of the descriptor that was read. Throws Error(EBUSY) where another one
// is there by now. Where the store does not honour conditions, a look before the PUT must do: the
// caller has the lease.
void replace_descriptor(ObjectStore& store, const StoredDescriptor& read,
                        const VolumeDescriptor& changed, const std::string& volume_key);

}  // namespace nbdstack
