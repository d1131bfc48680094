#include "filters/cache/serving/cache_layer.hpp"

#include <algorithm>
#include <utility>

#include "filters/cache/serving/write_back_reporter.hpp"

namespace nbdstack {
namespace {

// The cache accepts any alignment that the layer below allows, and prefers whole blocks.
void prefer_blocks(LayerTraits& traits, std::uint32_t block_size) {
  if (traits.minimum_block_size == 0) {
    traits.minimum_block_size = 1;
    traits.preferred_block_size = block_size;
    traits.maximum_block_size = 0xffffffff;
  } else if (traits.maximum_block_size >= block_size) {
    traits.preferred_block_size = std::max(traits.preferred_block_size, block_size);
  }
}

LayerTraits offered(const LayerTraits& below, const CacheSettings& settings) {
  LayerTraits traits = below;
  prefer_blocks(traits, settings.block_size);
  // NBD_CMD_CACHE is the purpose of a cache.
  traits.cache = Support::native;
  if (!traits.can_write) return traits;
  const bool writethrough = settings.writes_through();
  // A plugin without flush stores what is written at once, but dirty blocks have to get there
  // first.
  traits.can_flush = true;
  // Zeros cost nothing to remember, and the cache itself writes them if the layer below cannot
  // zero.
  if (!writethrough) traits.zero = Support::native;
  if (!writethrough) traits.can_fast_zero = true;
  // With FUA the blocks are written back, with FUA or a flush below. Without either of them nothing
  // below is durable.
  if (traits.fua == Support::none || !writethrough) traits.fua = Support::native;
  // multi-conn guarantees two things. First, a write acknowledged on one connection is read on all
  // others: they share the cache, and content that is not in it is below before the
  // acknowledgement. Second, a flush on one connection makes durable what was acknowledged on the
  // others: in writeback mode the flush writes back every dirty block on its own connection and
  // then flushes that, and earlier write-backs were flushed at once on their own connection if the
  // layer below is not multi-conn itself (WriteBacks::flush_connection). In writethrough mode the
  // layer below has to guarantee it. In unsafe mode flush guarantees nothing at all.
  if (!writethrough) traits.can_multi_conn = true;
  return traits;
}

}  // namespace

CacheLayer::CacheLayer(LayerBelow below, std::shared_ptr<BlockCache> cache,
                       const CacheSettings& settings, std::shared_ptr<DiskWatch> watch)
    : below_(std::move(below)),
      cache_(std::move(cache)),
      watch_(std::move(watch)),
      traits_(offered((*below_).traits(), settings)),
      is_client_(traits_.can_write) {
  if (!is_client_) return;
  cache_->client_came();
  if (watch_ != nullptr) watch_->writer_came();
}

// A handshake that failed has no finalize().
CacheLayer::~CacheLayer() {
  loan_.reset();
  static_cast<void>(leave());
}

bool CacheLayer::leave() {
  return std::exchange(is_client_, false) && cache_->client_left();
}

void CacheLayer::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  admit();
  cache_->read(*below_, buffer, offset);
}

void CacheLayer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                        Durability durability) {
  admit();
  cache_->write(*below_, buffer, offset, durability);
  confirm(durability);
}

void CacheLayer::flush() {
  admit();
  cache_->flush(*below_);
  confirm(Durability::fua);
}

void CacheLayer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  admit();
  cache_->zero(*below_, {offset, length}, options);
  confirm(options.durability);
}

void CacheLayer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  admit();
  cache_->trim(*below_, {offset, length}, durability);
  confirm(durability);
}

void CacheLayer::cache(std::uint64_t length, std::uint64_t offset) {
  admit();
  cache_->prefetch(*below_, {offset, length});
}

void CacheLayer::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                         ExtentList& extents) {
  admit();
  cache_->extents(*below_, {offset, length}, only_one, extents);
}

// Content that became durable locally while another server took the disk over does not count.
void CacheLayer::confirm(Durability durability) {
  if (durability == Durability::fua) admit();
}

void CacheLayer::finalize() {
  loan_.reset();
  if (!leave()) return;
  if (watch_ != nullptr && !watch_->may_write_back(*below_)) return;
  // The server may be about to stop, and waits for the end of this.
  const WriteBackReporter reporter("cache: export " + name_,
                                   {[this] { return cache_->unwritten_bytes(); },
                                    [this] { return cache_->write_backs_done(); }});
  cache_->last_client_left(*below_);
}

}  // namespace nbdstack
