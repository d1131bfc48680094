// Numbers in the order in which formats store them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nbdstack {

// The low bytes of `number`, as many as `place` is long; the most significant comes first.
inline void store_big_endian(std::uint64_t number, std::span<std::byte> place) {
  for (std::size_t i = place.size(); i > 0; --i) {
    place[i - 1] = static_cast<std::byte>(number & 0xffU);
    number >>= 8U;
  }
}

// At most 8 bytes.
inline std::uint64_t load_big_endian(std::span<const std::byte> place) {
  std::uint64_t number = 0;
  for (const std::byte each : place) number = number << 8U | std::to_integer<std::uint64_t>(each);
  return number;
}

}  // namespace nbdstack
