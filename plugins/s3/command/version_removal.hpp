// What a bucket keeps of objects that were replaced or removed: their older versions, and for each
// that was removed a delete marker, which is the newest version and says that there is no object.
//
//   the version                          becomes
//   the object that a key shows          stays: whoever put it there may need it
//   older, be it an object or a marker   removed, in a first listing
//   the marker that a key shows          removed, in a second listing, if nothing older is left
//
// In two listings, because a marker that goes before what is older brings that back.
//
// Where a bucket's versions have been suspended, all that is written since has the version id
// "null", which an object of somebody else's may have taken over in the next moment. So the marker
// of that id is removed only while the caller has the right to write the volume.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "plugins/s3/command/block_removal.hpp"
#include "plugins/s3/command/found_volume.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct VersionScope {
  std::string prefix;                               // of all keys
  std::function<bool(const std::string&)> is_ours;  // which of those are meant

  // The objects of a volume: blocks of any number, and what else its layout has.
  static VersionScope of(const FoundVolume& volume);
};

// Whether the store keeps anything of it that the table above removes. Costs a page of a listing
// where the first one shows it; so who may not list versions is told before anything is removed.
bool has_old_versions(ObjectStore& store, const VersionScope& scope);

// As find_volume(). Where there is no volume, but a deleted one of our own layout has left versions:
// those, as one without a size.
FoundVolume find_volume_or_versions(ObjectStore& store, const VolumeRequest& request);

// Returns how many versions were removed. Throws as BlockRemoval::remove() does. `holds_right`: the
// caller has the right to write the volume, as long as options.check_writable says so.
std::uint64_t remove_old_versions(ObjectStore& store, const VersionScope& scope,
                                  const ChangeOptions& options, bool holds_right);

}  // namespace nbdstack
