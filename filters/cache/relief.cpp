#include <algorithm>

#include "common/log.hpp"
#include "filters/cache/block_cache.hpp"
#include "filters/cache/write_back.hpp"

namespace nbdstack {
namespace {

// How many blocks one request frees on its way while the cache is above its thresholds. Enough to
// stay ahead of requests of a few blocks; the rest of the way down to the low threshold is left to
// later requests, so that none of them takes long.
constexpr std::size_t kReliefBlocks = 64;

}  // namespace

void BlockCache::relieve(Layer& below, bool may_write) {
  Lock lock(mutex_);
  const std::size_t cached = table_.cached_blocks();
  if (cached > high_slots_) relieving_ = true;
  if (cached <= low_slots_) relieving_ = false;
  if (!relieving_) return;
  std::size_t wanted = std::min<std::size_t>(kReliefBlocks, cached - low_slots_);
  wanted -= evict_oldest(lock, wanted);
  if (wanted > 0 && may_write && !evicting_) {
    const std::vector<BlockNumber> dirty = oldest_dirty(lock, wanted);
    if (!dirty.empty() && write_back_some(lock, below, dirty)) evict_oldest(lock, wanted);
  }
  changed_.notify_all();
}

std::size_t BlockCache::evict_oldest(Lock& lock, std::size_t count) {
  std::size_t evicted = 0;
  for (; evicted < count; ++evicted) {
    const Slot victim = oldest_evictable(lock);
    if (victim == kNoSlot) break;
    evict(lock, victim);
  }
  return evicted;
}

// All slots are taken by blocks that are dirty or in use. One request writes back; the others wait
// for what it achieves, and everybody waits for blocks in use, which is over soon: whoever uses one
// never waits for room.
bool BlockCache::make_room(Lock& lock, Layer& below) {
  while (!table_.has_room() && oldest_evictable(lock) == kNoSlot) {
    if (table_.cached_blocks() == 0) return false;  // not one slot could be stored
    const std::vector<BlockNumber> dirty =
        evicting_ ? std::vector<BlockNumber>() : oldest_dirty(lock, kReliefBlocks);
    if (dirty.empty()) {
      changed_.wait(lock);
    } else if (!write_back_some(lock, below, dirty)) {
      return false;
    }
  }
  return true;
}

std::vector<BlockNumber> BlockCache::oldest_dirty(Lock& /*lock*/, std::size_t count) const {
  std::vector<BlockNumber> blocks;
  const SlotList& recency = table_.recency();
  for (Slot slot = recency.back(); slot != kNoSlot && blocks.size() < count;
       slot = recency.newer(slot)) {
    const BlockTable::Entry& entry = table_[slot];
    if (entry.state == BlockState::dirty && entry.holds == 0) blocks.push_back(entry.block);
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

// False: none of them could be written, which has been logged. They stay dirty.
bool BlockCache::write_back_some(Lock& lock, Layer& below, const std::vector<BlockNumber>& blocks) {
  evicting_ = true;
  lock.unlock();
  WriteBack work{.below = below};
  write_back_dirty(work, blocks);
  if (work.failure) {
    log::error(
        "cache: {} blocks could not be written back to make room; they stay in the cache: {}",
        blocks.size() - work.written_blocks,
        work.failure->is_reported() ? "the plugin has reported why" : work.failure->what());
  }
  lock.lock();
  evicting_ = false;
  changed_.notify_all();
  return work.written_blocks > 0 || !work.failure;
}

}  // namespace nbdstack
