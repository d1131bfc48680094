// Whether bytes are zeros, at the speed of memory.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace nbdstack {

// Comparing the bytes with themselves, moved by one, leaves the work to the library's memcmp, which
// is written for the machine. True for no bytes.
inline bool is_zero(std::span<const std::byte> bytes) {
  return bytes.empty() || (bytes.front() == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace nbdstack
