// The identity of an md5-file: the disk of its digests, and their age.
//
// Lines of text (common/io/key_value_text.hpp), padded with zeros:
//
//   md5-file=1|2     version. 1 has only the fields marked with *
//   export=NAME    * the name under which the disk was opened when the file was made
//   block_size=N   * bytes
//   uuid=HEX       * of the file itself; seeds the checksums of all that follows
//   disk=ID          the disk, if the layer below reports it (disk_identity.hpp)
//   term=N           the writer's term in which all records that are not doubtful were true last;
//                    absent if terms are not counted
//   generation=N     records of an earlier generation are doubtful, all at once; 0 if absent
//   check=HEX      * XXH3 of the lines before
//
// It is in the file twice, at 0 and at 8 KiB, and the second copy is changed first: one of them is
// whole whenever the machine stops. (A long name may leave no room for the second; then there is
// one.)
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/io/directory.hpp"

namespace nbdstack {

struct Md5FileIdentity {
  std::string export_name;
  std::uint32_t block_size = 0;
  std::string uuid;     // of the file itself
  std::string disk_id;  // empty if the layer below reports none
  std::optional<std::uint64_t> term;
  std::uint32_t generation = 0;

  friend bool operator==(const Md5FileIdentity&, const Md5FileIdentity&) = default;
};

// Returns nothing if `file` is empty or its creation was cut short. Throws Error if it is no
// md5-file, or damaged.
[[nodiscard]] std::optional<Md5FileIdentity> read_identity(const StorageFile& file);

// Makes an empty md5-file, durably, of a file without identity.
void write_new_identity(StorageFile& file, const Md5FileIdentity& identity);
// Replaces the identity durably; after an Error the file may have either identity.
void replace_identity(StorageFile& file, const Md5FileIdentity& identity);

}  // namespace nbdstack
