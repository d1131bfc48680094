// The disk that a cache directory is the cache of, and when its content was true.
//
// The text of the file `identity`: lines "key=value" (common/io/key_value_text.hpp).
//
//   format      2; or 3 if the pages are encrypted, which older programs refuse; or 1 without
//               disk_id, term and alone: its disk is not known
//   export      the disk's export name when the directory was first used
//   disk_size   in bytes, when the directory was last used
//   block_size  in bytes
//   cache_id    the user's own name for the disk below; may be empty
//   disk_id     the id from the layer below (common/block/disk_identity.hpp); empty if it has none
//   term        the writer's term in which the content of the directory is true; empty if unknown.
//               Dirty blocks were written over the disk as it was in that term
//   alone       1 if no other server could write while its clean blocks were stored. 0 if others
//               may have written: the blocks are worthless after this life
//   uuid        of the directory
//
// Format 3 also has, for the key of the pages (common/crypto/wrapped_key.hpp):
//
//   cipher                           aes-256-xts (common/crypto/unit_cipher.hpp)
//   scrypt_n, scrypt_r, scrypt_p     the cost of the passphrase
//   salt, wrapped_key                in base64
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/crypto/wrapped_key.hpp"

namespace nbdstack {

struct CacheIdentity {
  std::string export_name;
  std::uint64_t disk_size_bytes = 0;
  std::uint32_t block_size_bytes = 0;
  std::string cache_id;
  std::string disk_id;
  std::optional<std::uint64_t> term;
  bool alone = false;
  // The encryption of the pages, or nothing if they are in the clear. Only the directory sets it
  // (cache_directory.hpp).
  std::optional<WrappedKey> encryption;

  friend bool operator==(const CacheIdentity&, const CacheIdentity&) = default;
};

std::string to_text(const CacheIdentity& identity);
// Returns nothing if the text is damaged or of a later format.
std::optional<CacheIdentity> parse_cache_identity(std::string_view text);

// Returns whether the disk is the one that was cached, and larger, so that what is cached of it is
// still true. It must have ended where a block ends: a shorter block becomes a whole one, and parts
// of its last page were never stored.
bool has_only_grown(const CacheIdentity& found, const CacheIdentity& wanted);

// Returns the difference in what the user has to keep the same, or an empty string. The export name
// counts only if the layer below does not report the disk; directory_trust.hpp compares its report.
std::string difference(const CacheIdentity& found, const CacheIdentity& wanted);

}  // namespace nbdstack
