// The block size of a filter that works in whole blocks, but accepts requests of any size and
// passes them on, and the constraints that the filter reports above.
#pragma once

#include <cstdint>

#include "common/block/layer.hpp"

namespace nbdstack {

// For a layer below without a preference.
inline constexpr std::uint32_t kDefaultBlockSize = 64U << 10U;

// Returns `wanted` (none if 0), or the preference of the layer below, or kDefaultBlockSize. Throws
// Error(EINVAL) that names `parameter` if the layer below does not accept requests of that size.
std::uint32_t block_size_over(const LayerTraits& below, std::uint32_t wanted,
                              const char* parameter);

// Returns the constraints of the layer below, with that preference. If it has none, returns NBD's
// own, because there is a preference now.
LayerTraits traits_preferring(const LayerTraits& below, std::uint32_t block_size);

}  // namespace nbdstack
