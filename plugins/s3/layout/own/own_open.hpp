// Opens and creates volumes of our own layout, and opens foreign ones of the same layout.
// volume_open.hpp decides which is which.
#pragma once

#include <optional>
#include <string>

#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

class OwnOpener {
 public:
  // Both outlive this; `place` is for messages.
  OwnOpener(ObjectStore& store, const VolumeRequest& request, std::string place);

  // Returns nothing if there is no descriptor.
  std::optional<VolumeLayout> open_described();
  // `block` exists.
  VolumeLayout open_foreign(const ListedObject& block);
  VolumeLayout create();

 private:
  [[nodiscard]] VolumeLayout layout_of(const VolumeDescriptor& descriptor,
                                       std::optional<SecretKey> volume_key) const;
  [[nodiscard]] std::optional<SecretKey> unlock(const VolumeDescriptor& descriptor) const;
  void check_cipher() const;
  void check_level() const;
  void check_object_size() const;
  bool shows_descriptor();
  std::optional<std::string> block_beyond(const BlockFormat& format, BlockNumber end);

  ObjectStore& store_;
  const VolumeRequest& request_;
  const std::string place_;
  const ObjectNames names_;
};

// Throws Error(EINVAL) because the volume's `name` differs from the one that was given.
[[noreturn]] void throw_disagreement(const char* name, std::uint64_t given,
                                     const std::string& place, std::uint64_t found);

}  // namespace nbdstack
