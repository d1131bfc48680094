// What a cache directory is the cache of, and when what it says was true.
//
// The text of the file `identity`: lines "key=value" (common/io/key_value_text.hpp).
//
//   format      2; 3 where the pages are encrypted, which programs that do not know that refuse; 1
//               has none of disk_id, term and alone: which disk it was is not known
//   export      the name under which the disk was shown when the directory was taken into use
//   disk_size   in bytes
//   block_size  in bytes
//   cache_id    the user's own name for what lies below; may be empty
//   disk_id     what the layer below told of itself (common/block/disk_identity.hpp); empty: nothing
//   term        the writer's term in which what is in the directory is true; empty: not told.
//               Blocks that are dirty were written over the disk as it was in that term
//   alone       1: nobody else could write while its clean blocks were noted. 0: somebody may have,
//               and after this life they are worth nothing
//   uuid        of the directory
//
// and of format 3, of the key of the pages (common/crypto/wrapped_key.hpp):
//
//   cipher                           aes-256-xts (common/crypto/unit_cipher.hpp)
//   scrypt_n, scrypt_r, scrypt_p     what the passphrase costs
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
  // How the pages are encrypted; nothing: they lie in the clear. The directory's own business
  // (cache_directory.hpp): others leave it empty.
  std::optional<WrappedKey> encryption;

  friend bool operator==(const CacheIdentity&, const CacheIdentity&) = default;
};

std::string to_text(const CacheIdentity& identity);
// Nothing where the text is damaged or of a later format.
std::optional<CacheIdentity> parse_cache_identity(std::string_view text);

// In which of the things that the user has to keep the same they differ; empty: in none. The name
// of the export says which disk it is only where the layer below does not; what it says is for
// directory_trust.hpp.
std::string difference(const CacheIdentity& found, const CacheIdentity& wanted);

}  // namespace nbdstack
