// Runs `create`, which creates a volume like a server started with size= on an empty key, but never
// opens an existing one. Of two concurrent calls for the same volume both may report success; there
// is one volume then, and it is what both requested.
#pragma once

#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Throws Error: EEXIST if there is a volume, whole, damaged or half deleted; EINVAL without size=,
// and for a layout whose volumes are created by their first block; and open_volume()'s errors.
VolumeLayout create_volume(ObjectStore& store, const VolumeRequest& request);

}  // namespace nbdstack
