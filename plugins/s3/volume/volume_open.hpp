// Opens the volume or image that a bucket holds under a key:
//
//   descriptor   blocks       parameters given     opens as
//   yes          any          any                  the volume described; contradictions are EINVAL
//   no           ours         size, object-size    a foreign volume, of nbdkit's own S3 plugin say
//   no           ours         less                 EINVAL: asks for both
//   no           s3backer's   any                  s3backer's volume (s3backer_open.hpp)
//   no           no           layout=s3backer      a new one of s3backer's, or EINVAL
//   no           no           size                 a new volume, whose descriptor is created here
//   no           no           none                 the object KEY, read-only: a disk image
//   no           no           none, no such key    ENOENT: asks for size
//
// layout= restricts this: a volume of another layout is EINVAL. A foreign volume gets no
// descriptor: its owner does not expect one.
//
// If two servers create a volume at once, the create-only PUT has one winner; the other reads its
// descriptor and agrees, or fails. Blocks are written after the descriptor, so it is read again
// after blocks were seen: only if it is still missing are they foreign.
#pragma once

#include <memory>

#include "common/block/layer.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/volume/volume.hpp"

namespace nbdstack {

// The place of the volume that `request` names. Earlier versions used a key exactly as given, so
// that "v/" was another place than "v", with objects "v//0000000000000000": such a volume is used
// if there is none at the present place. Throws Error(EINVAL) if there are both.
std::string resolve_key(ObjectStore& store, const VolumeRequest& request);

// Finds or creates it. Errors: EINVAL for contradictions and missing parameters, ENOENT if there is
// nothing to open, EACCES for a wrong passphrase, EROFS if it would have to be created but must
// not, and the store's own.
VolumeLayout open_volume(ObjectStore& store, const VolumeRequest& request);

// The disk itself; may start threads. `store` outlives it.
std::unique_ptr<Layer> make_disk(ObjectStore& store, const VolumeLayout& layout,
                                 const VolumeOptions& options);

}  // namespace nbdstack
