// What a volume tells the layers above of which disk it is (common/block/disk_identity.hpp).
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

// By the id in its descriptor; a volume without one by its place. `store_place` is that of the
// bucket (StoreFactory::place()). The right to write is that of who has none.
DiskIdentity identity_of_volume(const VolumeLayout& layout, const std::string& store_place,
                                const std::optional<LeaseTerm>& term);

// For who takes no lease: that of the volume `key`. Nothing: there is none, or it cannot be read.
std::optional<SeenLease> look_up_lease(ObjectStore& store, const std::string& key);

// The term of its last owner, who may be writing. What such an owner has not given back yet it may
// have changed. Nothing: no term is counted.
std::optional<LeaseTerm> term_of(const std::optional<SeenLease>& seen);

// What names a volume of blocks in the record of what is known of them.
RememberedVolume remembered(const VolumeLayout& layout);

}  // namespace nbdstack
