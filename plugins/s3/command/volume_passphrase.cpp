#include "plugins/s3/command/volume_passphrase.hpp"

namespace nbdstack {

void change_passphrase(ObjectStore& store, const StoredDescriptor& stored,
                       const PassphraseChange& change) {
  const SecretKey key = stored.descriptor.unlock(change.old_passphrase, stored.name);
  VolumeDescriptor changed = stored.descriptor;
  changed.change_passphrase(key, change.new_passphrase, change.cost);
  replace_descriptor(store, stored, changed, change.key);
}

}  // namespace nbdstack
