// Checks for zeros at the speed of memory (bench/zero_scan).
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace nbdstack {

// Returns whether all bytes are zeros, also if there are none. The first byte is checked; comparing
// the bytes with themselves, moved by a little, shows that the others equal it. That leaves the
// work to the library's memcmp, which is written for the machine. Moved by some cache lines, both
// sides of the comparison are aligned alike; moved by one byte, half of the loads would cross a
// line.
inline bool is_zero(std::span<const std::byte> bytes) {
  constexpr std::size_t kHead = 256;
  const auto repeats_itself = [](std::span<const std::byte> given, std::size_t distance) {
    return std::memcmp(given.data(), given.data() + distance, given.size() - distance) == 0;
  };
  if (bytes.empty()) return true;
  if (bytes.front() != std::byte{0}) return false;
  if (bytes.size() <= kHead) return repeats_itself(bytes, 1);
  return repeats_itself(bytes.first(kHead), 1) && repeats_itself(bytes, kHead);
}

}  // namespace nbdstack
