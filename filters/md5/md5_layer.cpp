#include "filters/md5/md5_layer.hpp"

#include <algorithm>
#include <vector>

#include "common/block/block_size.hpp"
#include "common/error.hpp"

namespace nbdstack {
namespace {

// In addition to the request's thread.
constexpr std::size_t kHelpers = 3;

Md5Digest md5_of_zeros(std::uint32_t length) {
  return md5(std::vector<std::byte>(length));
}

}  // namespace

Md5Export::Md5Export(const Md5Options& md5_options, std::uint32_t block_size_bytes,
                     Clock& the_clock, std::unique_ptr<Md5File> file,
                     const std::shared_ptr<const DiskIdentity>& identity)
    : options(md5_options),
      block_size(block_size_bytes),
      zeros_digest(md5_of_zeros(block_size_bytes)),
      clock(the_clock),
      digests({.capacity = md5_options.table_blocks,
               .cache_time = md5_options.cache_time,
               .min_write_delay = md5_options.min_write_delay,
               .longest_time_pinned = md5_options.retry_time},
              the_clock, std::move(file)),
      writers(
          identity, [this](const DiskIdentity* now) { digests.doubt_all(now); },
          WriterWatch::InDoubt::set_aside),
      hashing(kHelpers) {}

Md5Layer::Md5Layer(LayerBelow layer_below, std::shared_ptr<Md5Export> shared)
    : ForwardingLayer(std::move(layer_below)),
      shared_(std::move(shared)),
      geometry_(below().traits().size_bytes, shared_->block_size),
      traits_(traits_preferring(below().traits(), shared_->block_size)) {}

// Settles this client's writes at the last chance.
void Md5Layer::finalize() {
  try {
    if (shared_->digests.has_unsettled()) shared_->digests.flush(below());
  } catch (const Error& error) {
    log::error("md5: the last flush for a client that leaves failed: {}", error.reason());
  }
  below().finalize();
}

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
