// What `delete` does. It may be interrupted at any point: what is left never opens as a volume, and
// the same command finishes it.
//
//   step  a volume of our layout (or of another program)     one of s3backer's
//   1     the caller has the lease                           puts the mount token
//   2     a mark takes the descriptor's place
//         (deletion_mark.hpp), which every server refuses
//   3     removes the blocks, those behind the end too       all but block 0, then block 0
//   4     the caller gives the lease back
//   5     removes the lease object and probe objects
//   6     removes the mark                                   removes the mount token
//
// With --versions, what the bucket keeps of the blocks is removed behind step 3, and what it keeps of
// the other objects behind step 6 (version_removal.hpp). That finds them also where step 6 was done
// before, and there is no volume any more.
//
// So neither the first nor the last is right for the descriptor: without it, the blocks that are
// left open as another program's volume with holes; with it, as our own with holes.
//
//   interrupted after  what is left              to finish
//   1                  an untouched volume       again
//   2 to 5             refuses to open           again; a lease that was held runs out, at once if
//                                                it was held on the same machine
//   1 to 3, s3backer   refuses to open without   again, with own=force, which says that nobody has
//                      own=force                 mounted it; block 0, if it was there, knows the
//                                                geometry to the end, else size= must
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

// Steps 2 and 3 of a volume that is not s3backer's, nor an image. Returns how many blocks were
// removed. Throws the store's errors and what options.check_writable throws.
std::uint64_t delete_blocks(ObjectStore& store, const FoundVolume& volume,
                            const ChangeOptions& options);

// Steps 5 and 6. `store` is not bound by the lease, which is no more. Does nothing where there is
// no mark: somebody else has finished meanwhile, and there may be a new volume.
void finish_deletion(ObjectStore& store, const std::string& volume_key);

// One of s3backer's. Throws Error(EBUSY) where its token is there already, unless `force`. Calls
// `before_the_token` when the blocks are gone.
std::uint64_t delete_s3backer_volume(ObjectStore& store, const FoundVolume& volume,
                                     const ChangeOptions& options, bool force,
                                     const std::function<void()>& before_the_token = {});

}  // namespace nbdstack
