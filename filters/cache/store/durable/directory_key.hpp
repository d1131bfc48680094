// The key of an encrypted cache directory.
//
// The pages of a directory that was first used with cache-encrypt are encrypted by a random key of
// its own, which is in the file `identity`, wrapped by the passphrase (cache_identity.hpp). A
// directory stays encrypted or in the clear until it is discarded: if the passphrase does not fit,
// the start is refused, and nothing in the directory is changed.
//
//   the directory is   cache-encrypt   result
//   unused             not given       the pages are in the clear
//   unused             given           a key is made
//   in the clear       not given       it is used
//   in the clear       given           EINVAL: its content would stay in the clear
//   encrypted          not given       EACCES
//   encrypted          its passphrase  it is used
//   encrypted          another one     EACCES
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/crypto/unit_cipher.hpp"
#include "common/crypto/wrapped_key.hpp"
#include "filters/cache/store/durable/cache_identity.hpp"

namespace nbdstack {

struct DirectoryKey {
  std::optional<WrappedKey> wrapped;         // to be stored; nothing if not encrypted
  std::shared_ptr<const UnitCipher> cipher;  // there if that is
};

// `found` is the directory's own record; `path` is for messages. The passphrase is not empty.
// `cost` is that of a new key.
DirectoryKey unlock(const std::optional<CacheIdentity>& found,
                    const std::optional<std::string>& passphrase, const std::string& path,
                    const ScryptCost& cost);

}  // namespace nbdstack
