// Decides whether an md5-file may be used for a disk, and how far its digests are trusted there.
//
//   the file        the disk reports        outcome
//   -------------   ---------------------   ------------------------------------------------------
//   is new          anything                bound to the disk, or else to the export's name, when
//                                           the first change is recorded: not by a client that only
//                                           reads, perhaps under a mistyped name
//   names no disk   nothing                 for the same export name; compared (disk_check.hpp)
//   names no disk   its id                  compared, then bound to the disk: with at least one
//                                           block that is right, or for the same export name
//   names a disk    nothing, another id     refused
//   names a disk    the same id             by the terms:
//
//   the file's term            the disk's term            digests
//   ------------------------   ------------------------   ----------------------------------------
//   none                       none                       unchanged: terms are not counted
//   T                          still true since T         unchanged
//   T                          others wrote since T       doubtful
//   T                          less than T                doubtful: the disk was restored from an
//                                                         older copy
//   none, or T                 some, or none              doubtful: there were uncounted writes
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/block/disk_registry.hpp"
#include "filters/md5/md5_file_identity.hpp"

namespace nbdstack {

struct FileBinding {
  enum class Worth : std::uint8_t { as_they_are, compared, doubtful };

  Md5FileIdentity identity;  // the file's from now on
  bool is_new = false;
  Worth worth = Worth::as_they_are;
  bool needs_a_match = false;  // after comparing, at least one block must be right
  std::string reason;          // why they are doubtful
};

// `found` is the identity in the file. Throws Error(EINVAL) if the file is not for this disk.
FileBinding bind_file(const std::optional<Md5FileIdentity>& found, const std::string& path,
                      const std::string& export_name, const ShownDisk& disk,
                      std::uint32_t block_size);

}  // namespace nbdstack
