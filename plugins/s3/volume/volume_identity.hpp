// The disk identity that a volume reports to the layers above (common/block/disk_identity.hpp).
#pragma once

#include <optional>
#include <string>

#include "common/block/disk_identity.hpp"
#include "plugins/s3/blocks/block_memory.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/lease/lease_object.hpp"
#include "plugins/s3/lease/lease_term.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Identifies it by the id in its descriptor, or by its place if it has none. `store_place` is that
// of the bucket (StoreFactory::place()). The right to write is that of a server without one.
DiskIdentity identity_of_volume(const VolumeLayout& layout, const std::string& store_place,
                                const std::optional<LeaseTerm>& term);

// For a server without a lease: reads that of volume `key`, or nothing if there is none readable.
std::optional<SeenLease> look_up_lease(ObjectStore& store, const std::string& key);

// Returns the term of its last owner, which may be writing. An owner that has not released its
// lease may have changed anything. Returns nothing if no term is counted.
std::optional<LeaseTerm> term_of(const std::optional<SeenLease>& seen);

// Returns the volume's name in the record of its blocks.
RememberedVolume remembered(const VolumeLayout& layout);

}  // namespace nbdstack
