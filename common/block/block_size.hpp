// The blocks of a filter that works in whole blocks, but takes requests of any size and passes them
// on: how large they are, and what the filter states above.
#pragma once

#include <cstdint>

#include "common/block/layer.hpp"

namespace nbdstack {

// Where the layer below states no preference.
inline constexpr std::uint32_t kDefaultBlockSize = 64U << 10U;

// `wanted` (0: no wish), or what the layer below prefers, or kDefaultBlockSize. Throws Error(EINVAL)
// that names `parameter` when the layer below does not take requests of that size.
std::uint32_t block_size_over(const LayerTraits& below, std::uint32_t wanted,
                              const char* parameter);

// What the layer below states, with that preference. Where it states no constraints, NBD's own are
// stated, because there is a preference now.
LayerTraits traits_preferring(const LayerTraits& below, std::uint32_t block_size);

}  // namespace nbdstack
