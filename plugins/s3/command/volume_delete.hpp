// Runs `delete`. It may be interrupted at any point: what is left never opens as a volume, and the
// same command finishes it.
//
//   step  a volume of our layout (or of another program)     one of s3backer's
//   1     the caller has the lease                           puts the mount token
//   2     a mark replaces the descriptor
//         (deletion_mark.hpp), which every server refuses
//   3     removes the blocks, those behind the end too       all but block 0, then block 0
//   4     the caller releases the lease
//   5     removes the lease object and probe objects
//   6     removes the mark                                   removes the mount token
//
// With --versions, older versions of the blocks are removed after step 3, and those of the other
// objects after step 6 (version_removal.hpp). This also works if step 6 is already done, and there
// is no volume any more.
//
// So the descriptor must be removed neither first nor last: without it, the remaining blocks open
// as another program's volume with holes; with it, as our own with holes.
//
//   interrupted after  what is left              to finish
//   1                  an untouched volume       again
//   2 to 5             refuses to open           again; a lease that was held expires, at once if
//                                                it was held on the same machine
//   1 to 3, s3backer   refuses to open without   again, with own=force, which asserts that no host
//                      own=force                 has mounted it; block 0 records the geometry to
//                                                the end; without block 0, size= is needed
//
// Other objects under the volume's prefix stay.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "plugins/s3/command/block_removal.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

// Runs steps 2 and 3 for a volume that is neither s3backer's nor an image. Returns how many blocks
// were removed. Throws the store's errors and those of options.check_writable.
std::uint64_t delete_blocks(ObjectStore& store, const FoundVolume& volume,
                            const ChangeOptions& options);

// Runs steps 5 and 6. `store` is not bound by the lease, which is released. Does nothing if there
// is no mark: another deletion has finished meanwhile, and there may be a new volume.
void finish_deletion(ObjectStore& store, const std::string& volume_key);

// Deletes one of s3backer's. Throws Error(EBUSY) if its token already exists, unless `force`. Calls
// `before_the_token` after the blocks are removed.
std::uint64_t delete_s3backer_volume(ObjectStore& store, const FoundVolume& volume,
                                     const ChangeOptions& options, bool force,
                                     const std::function<void()>& before_the_token = {});

}  // namespace nbdstack
