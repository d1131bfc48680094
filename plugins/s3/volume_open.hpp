// What lies in a bucket under a key, and how it is opened:
//
//   descriptor   blocks   parameters given     opens as
//   yes          any      any                  the volume described; what contradicts it is EINVAL
//   no           yes      size, object-size    a foreign volume, of nbdkit's own S3 plugin say
//   no           yes      less                 EINVAL: asks for both
//   no           no       size                 a new volume, whose descriptor is created here
//   no           no       none                 the object KEY, read-only: a disk image
//   no           no       none, no such key    ENOENT: asks for size
//
// A foreign volume gets no descriptor: its owner does not expect one.
//
// Two that create at once: the create-only PUT has one winner, the other reads the winner's
// descriptor and agrees or is told of the contradiction. Blocks are written after the descriptor,
// so that blocks without one are foreign only when the descriptor is still missing after the blocks
// have been seen: it is read again then.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/block/layer.hpp"
#include "plugins/s3/object_store.hpp"

namespace nbdstack {

inline constexpr std::uint32_t kObjectSize_bytes_default = 1024 * 1024;

// What the user said.
struct VolumeRequest {
  std::string bucket;  // for messages
  std::string key;     // empty: none
  std::optional<std::uint64_t> size_bytes;
  std::optional<std::uint32_t> object_size;
};

enum class VolumeKind : std::uint8_t {
  blocks,  // KEY/%016x, read and written by Volume
  image,   // the object KEY, read by ObjectImage
};

// What was found: all that is needed to serve it.
struct VolumeLayout {
  VolumeKind kind = VolumeKind::blocks;
  std::string key;
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;
};

// Finds or creates. Errors: EINVAL for contradictions and for parameters that are missing, ENOENT
// where there is nothing to open, and the store's own.
VolumeLayout open_volume(ObjectStore& store, const VolumeRequest& request);

// The disk itself; may start threads. `store` outlives it.
std::unique_ptr<Layer> make_disk(ObjectStore& store, const VolumeLayout& layout,
                                 std::size_t connections);

}  // namespace nbdstack
