// XXH3, by xxHash: the checksum in objects, cached blocks and records on this machine's disk.
//
// It detects accidents at memory speed, not attackers. The 128-bit digest is in xxHash's canonical
// (big endian) order, so its hex form is what `xxhsum -H2` prints.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nbdstack {

using Xxh3Digest = std::array<std::byte, 16>;

Xxh3Digest xxh3_128(std::span<const std::byte> data);

// For data that never leaves this machine.
std::uint64_t xxh3_64(std::span<const std::byte> data, std::uint64_t seed);

}  // namespace nbdstack
