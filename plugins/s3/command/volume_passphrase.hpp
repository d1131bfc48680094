// Runs `passphrase`: wraps the volume's key by another passphrase (wrapped_key.hpp). No block is
// rewritten, and a server that has the volume open continues: it has the key.
//
// The caller needs no lease if the store honours conditional PUTs: a descriptor that was changed
// meanwhile is detected. If the store does not, the caller must have the lease.
#pragma once

#include <string>

#include "common/crypto/wrapped_key.hpp"
#include "plugins/s3/layout/stored_descriptor.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct PassphraseChange {
  std::string key;  // of the volume
  std::string old_passphrase;
  std::string new_passphrase;
  ScryptCost cost{};
};

// Throws Error: EACCES for a wrong old passphrase, EINVAL for a volume that is not encrypted, EBUSY
// if the descriptor has changed, and the store's own.
void change_passphrase(ObjectStore& store, const StoredDescriptor& stored,
                       const PassphraseChange& change);

}  // namespace nbdstack
