#include "filters/cache/block_cache.hpp"

#include <algorithm>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// How many of the oldest blocks are looked at for one that may go. When all of them are dirty or in
// use, somebody has to write back first, and looking further would only make the search long while
// the cache is busy.
constexpr int kEvictionCandidates = 64;

Slot percent_of(Slot slots, unsigned percent) {
  return static_cast<Slot>(std::uint64_t{slots} * percent / 100);
}

}  // namespace

BlockCache::BlockCache(const CacheSettings& settings, std::uint64_t size_bytes, WorkerPool& pool)
    : settings_(settings),
      geometry_(size_bytes, settings.block_size),
      file_(settings.directory, settings.block_size),
      pool_(pool),
      table_(slots_for(settings)),
      high_slots_(percent_of(table_.max_slots(), settings.high_threshold_percent)),
      low_slots_(percent_of(table_.max_slots(), settings.low_threshold_percent)) {}

Slot BlockCache::slots_for(const CacheSettings& settings) {
  constexpr Slot kMost = kNoSlot - 2;  // two values are taken by the lists
  if (settings.max_size_bytes == 0) return kMost;
  const std::uint64_t slots = settings.max_size_bytes / settings.block_size;
  return static_cast<Slot>(std::clamp<std::uint64_t>(slots, 1, kMost));
}

std::uint64_t BlockCache::cached_bytes() const {
  const Lock lock(mutex_);
  return std::uint64_t{table_.cached_blocks()} * settings_.block_size;
}

std::uint64_t BlockCache::capacity_bytes() const {
  const Lock lock(mutex_);
  return std::max<std::uint64_t>(1, table_.max_slots()) * settings_.block_size;
}

std::uint64_t BlockCache::unwritten_bytes() const {
  const Lock lock(mutex_);
  return std::uint64_t{table_.unwritten().size()} * settings_.block_size;
}

// A slot for an absent block, from what is free or by dropping the oldest clean block. Nothing:
// write back first.
std::optional<Slot> BlockCache::take_slot(Lock& lock, BlockNumber block) {
  if (!table_.has_room()) {
    const Slot victim = oldest_evictable(lock);
    if (victim == kNoSlot) return std::nullopt;
    evict(lock, victim);
  }
  return table_.insert(block);
}

Slot BlockCache::oldest_evictable(Lock& /*lock*/) const {
  Slot slot = table_.recency().back();
  for (int i = 0; i < kEvictionCandidates && slot != kNoSlot; ++i) {
    const BlockTable::Entry& entry = table_[slot];
    if (entry.state == BlockState::clean && entry.pins == 0 && entry.holds == 0) return slot;
    slot = table_.recency().newer(slot);
  }
  return kNoSlot;
}

void BlockCache::evict(Lock& /*lock*/, Slot slot) {
  say("reclaiming", table_[slot].block);
  table_.erase(slot);
}

void BlockCache::give_back(Lock& /*lock*/, Slot slot) {
  table_.unpin(slot);
  changed_.notify_all();
}

// Stores what is below already into a pinned slot in state storing, which becomes clean, or gone
// where it cannot be stored.
void BlockCache::fill_slot(Lock& lock, Slot slot, std::span<const std::byte> data) {
  lock.unlock();
  bool stored = true;
  try {
    file_.write(slot, data, 0);
  } catch (const Error& error) {
    storage_failed(error);
    stored = false;
  }
  lock.lock();
  if (stored) {
    table_.set_state(slot, BlockState::clean);
  } else {
    table_.retire(slot);
  }
  give_back(lock, slot);
}

// The disk of the cache file is full, or broken. What is cached stays; from now on slots are only
// reused.
void BlockCache::storage_failed(const Error& error) {
  const bool full = error.code() == ENOSPC || error.code() == EDQUOT || error.code() == EFBIG;
  if (!full) {
    log::error("cache: {}: the request passes through to the plugin", error.what());
    return;
  }
  Lock lock(mutex_);
  const bool news = table_.is_growing();
  table_.stop_growing();
  const std::uint64_t size_mib = (table_.cached_blocks() * settings_.block_size) >> 20U;
  lock.unlock();
  if (news) {
    log::error(
        "cache: {}: going on with the {} MiB that are cached; what does not fit passes "
        "through to the plugin",
        error.what(), size_mib);
  }
}

void BlockCache::run_in_parallel(const Layer& below, std::size_t count,
                                 const std::function<void(std::size_t)>& body) {
  if (below.traits().parallel) {
    pool_.run(count, body);
  } else {
    WorkerPool(0).run(count, body);
  }
}

// The block-aligned range that contains `range`.
Range BlockCache::blocks_covering(const Range& range) const {
  const std::uint64_t first = geometry_.offset_of(geometry_.block_at(range.offset));
  const BlockNumber last = geometry_.block_at(range.end() - 1);
  return {first, geometry_.offset_of(last) + geometry_.length_of(last) - first};
}

void BlockCache::say(const char* what, BlockNumber block) const {
  if (settings_.verbose) {
    log::debug("cache: {} block {} (offset {})", what, block.value, geometry_.offset_of(block));
  }
}

}  // namespace nbdstack
