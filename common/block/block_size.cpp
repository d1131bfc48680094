#include "common/block/block_size.hpp"

#include <algorithm>
#include <limits>

#include "common/error.hpp"

namespace nbdstack {

std::uint32_t block_size_over(const LayerTraits& below, std::uint32_t wanted,
                              const char* parameter) {
  if (wanted == 0) {
    return below.preferred_block_size != 0 ? below.preferred_block_size : kDefaultBlockSize;
  }
  const bool stated = below.maximum_block_size != 0;
  if (stated && (wanted < below.minimum_block_size || wanted > below.maximum_block_size)) {
    throw Error(EINVAL,
                fmt::format("{} is {}, but the layer below takes requests of {} to {} "
                            "bytes: choose a size between them, or none",
                            parameter, wanted, below.minimum_block_size, below.maximum_block_size));
  }
  return wanted;
}

LayerTraits traits_preferring(const LayerTraits& below, std::uint32_t block_size) {
  LayerTraits traits = below;
  traits.preferred_block_size = std::max(below.preferred_block_size, block_size);
  if (below.minimum_block_size == 0) traits.minimum_block_size = 1;
  if (below.maximum_block_size == 0) {
    traits.maximum_block_size = std::numeric_limits<std::uint32_t>::max();
  }
  return traits;
}

}  // namespace nbdstack
