// What a volume tells the layers above of which disk it is (common/block/disk_identity.hpp).
#pragma once

#include <optional>
#include <string>

#include "common/block/disk_identity.hpp"
#include "plugins/s3/lease_term.hpp"
#include "plugins/s3/object_store.hpp"
#include "plugins/s3/volume_request.hpp"

namespace nbdstack {

// By the id in its descriptor; a volume without one by its place. `store_place` is that of the
// bucket (StoreFactory::place()). The right to write is that of who has none.
DiskIdentity identity_of_volume(const VolumeLayout& layout, const std::string& store_place,
                                const std::optional<LeaseTerm>& term);

// For who takes no lease: the term of the last owner of the volume `key`, which may be writing. What
// such an owner has not given back yet it may have changed. Nothing: no term is counted, or the
// lease cannot be read.
std::optional<LeaseTerm> look_up_term(ObjectStore& store, const std::string& key);

}  // namespace nbdstack
