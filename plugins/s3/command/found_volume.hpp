// What lies in a bucket under a key, as far as it can be told without a passphrase: for the verbs
// that need names and sizes, but no data.
//
//   in the store                          kind
//   our descriptor                        own
//   what is left by a deletion            half_deleted
//   our names, but no descriptor          foreign; needs size= and object-size=
//   s3backer's names, or layout=s3backer  s3backer; needs its passphrase all the same
//   the object KEY                        image
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "plugins/s3/layout/volume_request.hpp"
#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

enum class FoundKind : std::uint8_t { own, half_deleted, foreign, s3backer, image };

struct FoundVolume {
  FoundKind kind = FoundKind::own;
  std::string key;
  std::string place;  // bucket and key, for messages
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;             // 0: not known, of one that is half deleted
  std::shared_ptr<const BlockFormat> names;  // of blocks, for their names only; none of an image
  std::optional<StoredDescriptor> descriptor{};  // own
  std::string mount_token{};                     // s3backer

  // Of its descriptor; empty where it has none.
  [[nodiscard]] std::string id() const {
    return descriptor.has_value() ? descriptor->descriptor.id : std::string();
  }
  // The number of blocks of the disk; 0 where it is not known.
  [[nodiscard]] std::uint64_t block_count() const;
  // The first number that no block of this layout can have.
  [[nodiscard]] BlockNumber block_limit() const;
};

// What a volume of ours would be called that is not there: of kind foreign, without a size.
FoundVolume no_volume(const VolumeRequest& request);

// Changes nothing in the store. Throws Error: ENOENT where there is no volume, EINVAL for
// contradictions and for parameters that are missing, and the store's own.
FoundVolume find_volume(ObjectStore& store, const VolumeRequest& request);

}  // namespace nbdstack
