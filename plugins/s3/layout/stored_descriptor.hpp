// Reads the descriptor of a volume from a store, and replaces exactly the one that was read.
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

// Returns nothing if there is no descriptor. Throws Error(EINVAL) for one that is not understood,
// and the store's own errors.
std::optional<StoredDescriptor> read_descriptor(ObjectStore& store, const ObjectNames& names);

// Replaces the descriptor that was read with `changed`. Throws Error(EBUSY) if it has been replaced
// meanwhile. In a store that does not honour conditions, a query before the PUT must suffice: the
// caller has the lease.
void replace_descriptor(ObjectStore& store, const StoredDescriptor& read,
                        const VolumeDescriptor& changed, const std::string& volume_key);

}  // namespace nbdstack
