// Finds what is under a key in a bucket, as far as that works without a passphrase: for the verbs
// that need names and sizes, but no data.
//
//   in the store                          kind
//   our descriptor                        own
//   the remains of a deletion             half_deleted
//   our names, but no descriptor          foreign; needs size= and object-size=
//   s3backer's names, or layout=s3backer  s3backer; needs its passphrase anyway
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
  std::uint32_t object_size = 0;                 // 0 if unknown, which only a half deleted one is
  std::shared_ptr<const BlockFormat> names;      // for the blocks' names only; null for an image
  std::optional<StoredDescriptor> descriptor{};  // own
  std::string mount_token{};                     // s3backer

  // Returns the id of its descriptor, or an empty string if it has none.
  [[nodiscard]] std::string id() const {
    return descriptor.has_value() ? descriptor->descriptor.id : std::string();
  }
  // Returns the number of blocks of the disk, or 0 if it is unknown.
  [[nodiscard]] std::uint64_t block_count() const;
  // Returns the first number that no block of this layout can have.
  [[nodiscard]] BlockNumber block_limit() const;
};

// Returns the names of a volume of ours that does not exist: its kind is foreign, without a size.
FoundVolume no_volume(const VolumeRequest& request);

// Changes nothing in the store. Throws Error: ENOENT if there is no volume, EINVAL for
// contradictions and for missing parameters, and the store's own.
FoundVolume find_volume(ObjectStore& store, const VolumeRequest& request);

}  // namespace nbdstack
