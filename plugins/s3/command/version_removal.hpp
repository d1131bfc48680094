// Removes what a bucket keeps of objects that were replaced or removed: their older versions, and
// for each removed object a delete marker, which is its newest version and means that it is gone.
//
//   the version                          becomes
//   the object that a key shows          stays: the writer that put it there may need it
//   older, be it an object or a marker   removed, in a first listing
//   the marker that a key shows          removed, in a second listing, if nothing older is left
//
// There are two listings, because removing a marker before the older versions brings these back.
//
// If a bucket's versions have been suspended, everything written since has the version id "null",
// which another program's object may take over at any moment. So the marker with that id is removed
// only while the caller has the right to write the volume.
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

  // Returns the scope of a volume: blocks of any number, and the layout's other objects.
  static VersionScope of(const FoundVolume& volume);
};

// Returns whether the store keeps a version that the table above removes. If so, this often costs
// only a page of a listing. So a missing right to list versions is reported before any removal.
bool has_old_versions(ObjectStore& store, const VersionScope& scope);

// Like find_volume(). If there is no volume, but a deleted one of our own layout has left versions,
// returns those as a volume without a size.
FoundVolume find_volume_or_versions(ObjectStore& store, const VolumeRequest& request);

// Returns how many versions were removed. Throws as BlockRemoval::remove() does. With `holds_right`
// the caller has the right to write the volume, as long as options.check_writable permits.
std::uint64_t remove_old_versions(ObjectStore& store, const VersionScope& scope,
                                  const ChangeOptions& options, bool holds_right);

}  // namespace nbdstack
