// What takes the place of a volume's descriptor while the volume is being deleted:
//
//   {"format": "nbdstack-volume-being-deleted", "size": 10737418240, "object-size": 1048576}
//
// Reading a descriptor is strict (volume_descriptor.hpp), so every version of every program refuses
// it, and names the format, which says what has happened. With it a deletion that was interrupted
// can be finished: size and object size are those of the volume, 0 where they were not known.
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
  // Nothing for every other text.
  static std::optional<DeletionMark> parse(const std::string& text);
};

// The mark in the place of the descriptor of `volume_key`'s volume, if it is there. Throws the
// store's errors.
std::optional<DeletionMark> read_deletion_mark(ObjectStore& store, const std::string& volume_key);

}  // namespace nbdstack
