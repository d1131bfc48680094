// The small object that says what a volume is, so that its bucket and key are all one needs to open
// it:
//
//   {
//     "format": "nbdstack-volume",
//     "version": 1,
//     "size": 10737418240,                        bytes
//     "object-size": 1048576,                     bytes, a power of two from 4K to 32M
//     "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"    128 random bits
//   }
//
// The id tells a volume from the next one under the same key. The object is written once, when the
// volume is created, by a create-only PUT, before any block: whoever sees a block and no descriptor
// looks at a volume that somebody else wrote. Reading is strict: a field that is missing, unknown,
// or of a wrong type or range means that this program does not understand the volume, and must not
// touch it.
#pragma once

#include <cstdint>
#include <string>

namespace nbdstack {

inline constexpr std::uint32_t kObjectSize_bytes_min = 4096;
inline constexpr std::uint32_t kObjectSize_bytes_max = 32 * 1024 * 1024;

struct VolumeDescriptor {
  std::uint64_t size_bytes = 0;
  std::uint32_t object_size = 0;
  std::string id;

  // With a new random id.
  static VolumeDescriptor make(std::uint64_t size_bytes, std::uint32_t object_size);

  // Throws Error(EINVAL) that names the object and what is wrong with it.
  static VolumeDescriptor parse(const std::string& text, const std::string& object_name);

  [[nodiscard]] std::string to_json() const;
};

}  // namespace nbdstack
