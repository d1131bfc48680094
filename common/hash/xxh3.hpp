// XXH3-128, by xxHash: the checksum that objects and cached blocks carry.
//
// It finds accidents at memory speed, not attackers. The digest is in xxHash's canonical (big
// endian) order, so its hex form is what `xxhsum -H2` prints.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace nbdstack {

using Xxh3Digest = std::array<std::byte, 16>;

Xxh3Digest xxh3_128(std::span<const std::byte> data);

}  // namespace nbdstack
