#include "filters/md5/md5_layer.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "common/error.hpp"

namespace nbdstack {
namespace {

Md5Digest md5_of_zeros(std::uint32_t length) {
  return md5(std::vector<std::byte>(length));
}

// The check itself takes requests of any size and passes them on as they are. Where the layer below
// states no constraints, NBD's own are stated, because there is a preference now.
LayerTraits traits_over(const LayerTraits& below, std::uint32_t block_size) {
  LayerTraits traits = below;
  traits.preferred_block_size = std::max(below.preferred_block_size, block_size);
  if (below.minimum_block_size == 0) traits.minimum_block_size = 1;
  if (below.maximum_block_size == 0) {
    traits.maximum_block_size = std::numeric_limits<std::uint32_t>::max();
  }
  return traits;
}

}  // namespace

std::uint32_t md5_block_size(const LayerTraits& below, std::uint32_t wanted) {
  if (wanted == 0) {
    return below.preferred_block_size != 0 ? below.preferred_block_size : kDefaultMd5BlockSize;
  }
  const bool stated = below.maximum_block_size != 0;
  if (stated && (wanted < below.minimum_block_size || wanted > below.maximum_block_size)) {
    throw Error(EINVAL, fmt::format("md5-block-size is {}, but the layer below takes requests of "
                                    "{} to {} bytes: choose a size between them, or none",
                                    wanted, below.minimum_block_size, below.maximum_block_size));
  }
  return wanted;
}

Md5Export::Md5Export(const Md5Options& md5_options, std::uint32_t block_size_bytes,
                     Clock& the_clock)
    : options(md5_options),
      block_size(block_size_bytes),
      zeros_digest(md5_of_zeros(block_size_bytes)),
      clock(the_clock),
      table({.capacity = md5_options.table_blocks,
             .cache_time = md5_options.cache_time,
             .min_write_delay = md5_options.min_write_delay,
             .longest_time_pinned = md5_options.retry_time},
            the_clock) {}

Md5Layer::Md5Layer(Layer& below, std::shared_ptr<Md5Export> shared)
    : below_(below),
      shared_(std::move(shared)),
      geometry_(below.traits().size_bytes, shared_->block_size),
      traits_(traits_over(below.traits(), shared_->block_size)) {}

Md5Layer::Blocks Md5Layer::blocks_of(const Range& range) const {
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber last = geometry_.block_at(range.end() - 1);
  return {first, last.value - first.value + 1};
}

Range Md5Layer::widened(const Range& range) const {
  const std::uint64_t begin = geometry_.offset_of(geometry_.block_at(range.offset));
  return {begin, geometry_.range_of(geometry_.block_at(range.end() - 1)).end() - begin};
}

Md5Digest Md5Layer::digest_of_zeros(std::uint32_t length) const {
  return length == geometry_.block_size() ? shared_->zeros_digest : md5_of_zeros(length);
}

}  // namespace nbdstack
