// What lies in a bucket under a key, and how it is opened:
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
// layout= narrows that down: what is found and does not fit it is EINVAL. A foreign volume gets no
// descriptor: its owner does not expect one.
//
// Two that create at once: the create-only PUT has one winner, the other reads the winner's
// descriptor and agrees or is told of the contradiction. Blocks are written after the descriptor,
// so that blocks without one are foreign only when the descriptor is still missing after the blocks
// have been seen: it is read again then.
#pragma once

#include <memory>

#include "common/block/layer.hpp"
#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"
#include "plugins/s3/volume/volume.hpp"

namespace nbdstack {

// Where the volume lies that `request` means. Earlier versions took a key as it was given, so that
// "v/" was another place than "v", with objects "v//0000000000000000": where such a volume is, and
// none where its key leads now, it is used there. Throws Error(EINVAL) where there are both.
std::string resolve_key(ObjectStore& store, const VolumeRequest& request);

// Finds or creates. Errors: EINVAL for contradictions and for parameters that are missing, ENOENT
// where there is nothing to open, EACCES for a wrong passphrase, EROFS where it would have to be
// created and must not be, and the store's own.
VolumeLayout open_volume(ObjectStore& store, const VolumeRequest& request);

// The disk itself; may start threads. `store` outlives it.
std::unique_ptr<Layer> make_disk(ObjectStore& store, const VolumeLayout& layout,
                                 const VolumeOptions& options);

}  // namespace nbdstack
