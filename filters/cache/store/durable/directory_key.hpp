// The key of an encrypted cache directory.
//
// The pages of a directory that was taken into use with cache-encrypt are encrypted by a random key
// of its own, which lies in the file `identity`, wrapped by the passphrase (cache_identity.hpp). What
// a directory is, it stays until it is discarded: where the passphrase and the directory do not go
// together the start is refused, and nothing in it is changed.
//
//   the directory is   cache-encrypt   then
//   unused             not given       it lies in the clear
//   unused             given           a key is made
//   in the clear       not given       it is used
//   in the clear       given           EINVAL: what it holds would go on lying there
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
  std::optional<WrappedKey> wrapped;  // to be stored; nothing: the directory is not encrypted
  std::shared_ptr<const UnitCipher> cipher;  // there if that is
};

// `found`: what the directory, whose path is for messages, says of itself. The passphrase is not
// empty. `cost`: of a new key.
DirectoryKey unlock(const std::optional<CacheIdentity>& found,
                    const std::optional<std::string>& passphrase, const std::string& path,
                    const ScryptCost& cost);

}  // namespace nbdstack
