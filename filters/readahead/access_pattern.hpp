// The direction and spacing of a stream's reads.
//
// All calculations assume a forward stream: the offsets of a backward one are mirrored at the top
// of the address space. Multiples of a power of two stay multiples of it, so block boundaries are
// the same from either side.
#pragma once

#include <cstdint>

#include "common/block/range.hpp"

namespace nbdstack {

enum class Direction : std::uint8_t { forward, backward };

// No disk is larger, so no mirrored offset is negative.
inline constexpr std::uint64_t kAddressSpaceEnd = 1ULL << 63U;

// A range of the disk as one along the way, and back again.
inline Range along(Direction direction, const Range& range) {
  if (direction == Direction::forward) return range;
  return {kAddressSpaceEnd - range.end(), range.length};
}

// The pattern of a detected stream. Offsets are along the way.
struct AccessPattern {
  Direction direction = Direction::forward;
  std::uint64_t next = 0;    // the expected offset of the next read
  std::uint64_t step = 0;    // from read to read; if 0, each begins where the one before has ended
  std::uint64_t length = 0;  // of every read, if there is a step

  friend bool operator==(const AccessPattern&, const AccessPattern&) = default;
};

}  // namespace nbdstack
