#include "common/hash/xxh3.hpp"

#include <xxhash.h>

#include <cstring>

namespace nbdstack {

Xxh3Digest xxh3_128(std::span<const std::byte> data) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.data(), data.size()));
  Xxh3Digest digest{};
  static_assert(sizeof canonical.digest == digest.size());
  std::memcpy(digest.data(), canonical.digest, digest.size());
  return digest;
}

std::uint64_t xxh3_64(std::span<const std::byte> data, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data.data(), data.size(), seed);
}

}  // namespace nbdstack
