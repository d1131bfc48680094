// The mark that replaces a volume's descriptor while the volume is being deleted:
//
//   {"format": "nbdstack-volume-being-deleted", "size": 10737418240, "object-size": 1048576}
//
// Reading a descriptor is strict (volume_descriptor.hpp), so every version of every program refuses
// the mark and names its format, which explains the refusal. The mark lets an interrupted deletion
// be finished: it has the volume's size and object size, or 0 for unknown ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "plugins/s3/store/object_store.hpp"

namespace nbdstack {

struct DeletionMark {
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;

  [[nodiscard]] std::string to_json() const;
  // Returns nothing if `text` is not a mark.
  static std::optional<DeletionMark> parse(const std::string& text);
};

// Returns the mark in the place of the descriptor of `volume_key`'s volume, if there is one. Throws
// the store's errors.
std::optional<DeletionMark> read_deletion_mark(ObjectStore& store, const std::string& volume_key);

}  // namespace nbdstack
