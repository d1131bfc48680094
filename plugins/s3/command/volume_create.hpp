// What `create` does: as a server that is started with size= on an empty key, but nothing that
// exists is opened instead. Of two that create the same volume at the same moment both may be told
// that they did; there is one volume then, and it is what both asked for.
#pragma once

#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Throws Error: EEXIST where there is a volume, whole, damaged or half deleted; EINVAL without
// size=, and for a layout whose volumes are created by their first block; what open_volume()
// throws.
VolumeLayout create_volume(ObjectStore& store, const VolumeRequest& request);

}  // namespace nbdstack
