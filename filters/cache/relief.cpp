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
  if (!pressed_) return;
  const MutexLock lock(mutex_);
  if (may_write && zeros_.size() > kMostZeroRanges) {
    const std::vector<Range> zeros = remembered_zeros({0, geometry_.size_bytes()});
    const MutexUnlock unlocked(mutex_);
    const Settling settling(*this, below);
    WriteBack work{.below = below};
    write_back_zeros(work, zeros);
    settle_or_remember(work);
  }
  const std::size_t used = occupied();
  if (used > high_slots_) relieving_ = true;
  if (used <= low_slots_) relieving_ = false;
  pressed_ = relieving_ || zeros_.size() > kMostZeroRanges;
  if (!relieving_) return;
  std::size_t wanted = std::min<std::size_t>(kReliefBlocks, used - low_slots_);
  wanted -= evict_some(wanted);
  if (wanted > 0 && may_write && !evicting_) {
    const std::vector<BlockNumber> dirty = next_dirty(below, wanted);
    if (!dirty.empty() && !write_back_some(below, dirty)) evict_some(wanted);
  }
  discard_dropped();
  changed_.notify_all();
}

std::size_t BlockCache::evict_some(std::size_t count) {
  std::size_t evicted = 0;
  for (; evicted < count; ++evicted) {
    const Slot victim = next_victim();
    if (victim == kNoSlot) break;
    evict(victim);
  }
  return evicted;
}

// All slots are taken by blocks that are dirty or in use. One request writes back; the others wait
// for what it achieves, and everybody waits for blocks in use, which is over soon: whoever uses one
// never waits for room. A durable store gives clean blocks free with its next commit.
bool BlockCache::make_room(Layer& below) {
  bool committed = !store_->is_durable();
  while (true) {
    discard_dropped();
    if (next_victim() != kNoSlot) return true;
    if (table_.has_room() && occupied() < table_.max_slots()) return true;
    if (table_.cached_blocks() == 0) return false;  // not one slot could be stored
    if (!std::exchange(committed, true)) {
      const MutexUnlock unlocked(mutex_);
      commit();
      continue;
    }
    const std::vector<BlockNumber> dirty =
        evicting_ ? std::vector<BlockNumber>() : next_dirty(below, kReliefBlocks);
    if (dirty.empty()) {
      if (!room_may_come()) return false;
      changed_.wait(mutex_);
    } else if (write_back_some(below, dirty)) {
      return false;
    }
    committed = !store_->is_durable();
  }
}

std::vector<BlockNumber> BlockCache::next_dirty(const Layer& below, std::size_t count) const {
  const std::uint64_t preferred = below.traits().preferred_block_size;
  std::vector<BlockNumber> blocks;
  table_.policy().in_eviction_order([&](Slot slot) REQUIRES(mutex_) {
    const BlockNumber block = table_[slot].block();
    const bool ready = !table_[slot].writing && table_.pages(slot).unwritten() != 0 &&
                       !changes_below_.is_unit_busy(geometry_.range_of(block), preferred);
    if (ready) blocks.push_back(block);
    return blocks.size() < count;
  });
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

// A flush that fails here belongs to blocks that count as clean already: the next flush of a client
// has to say so.
void BlockCache::settle_or_remember(WriteBack& work) {
  if (work.written == 0) return;
  try {
    settle(work.below);
  } catch (const Error& error) {
    log::error("cache: flush after blocks were written back to make room: {}",
               error.is_reported() ? "the plugin has reported the failure" : error.what());
    const MutexLock lock(mutex_);
    ledger_.remember_failure(error);
  }
}

// What fails stays dirty; the failure has been logged.
std::optional<Error> BlockCache::write_back_some(Layer& below,
                                                 const std::vector<BlockNumber>& blocks) {
  evicting_ = true;
  // Others wait for the end of this, whatever that is.
  struct End {
    BlockCache& cache;
    ~End() {
      cache.evicting_ = false;
      cache.changed_.notify_all();
    }
  } const end{*this};
  const MutexUnlock unlocked(mutex_);
  const Settling settling(*this, below);
  WriteBack work{.below = below};
  try {
    write_back_dirty(work, blocks);
  } catch (const std::bad_alloc&) {
    work.failure = Error(ENOMEM, "cache: out of memory while making room");
  }
  settle_or_remember(work);
  if (work.failure) {
    log::error(
        "cache: of {} blocks that make room, some could not be written back; they stay in the "
        "cache: {}",
        blocks.size(),
        work.failure->is_reported() ? "the plugin has reported why" : work.failure->what());
  }
  return work.written == 0 ? work.failure : std::nullopt;
}

// Writers wait rather than fill the cache with dirty blocks. One of them at a time writes the
// oldest back.
void BlockCache::wait_for_dirty_room(Layer& below) {
  if (settings_.max_dirty_bytes == 0) return;
  const auto dirty_bytes = [this]() REQUIRES(mutex_) {
    return std::uint64_t{table_.unwritten().size()} * settings_.block_size;
  };
  const std::uint64_t preferred = below.traits().preferred_block_size;
  MutexLock lock(mutex_);
  bool said = false;
  while (dirty_bytes() >= settings_.max_dirty_bytes) {
    if (!std::exchange(said, true)) {
      log::debug("cache: {} bytes are dirty: a write waits until less than cache-max-dirty is",
                 dirty_bytes());
    }
    std::vector<BlockNumber> oldest;
    const SlotList& unwritten = table_.unwritten();
    for (Slot slot = evicting_ ? kNoSlot : unwritten.back();
         slot != kNoSlot && oldest.size() < kReliefBlocks; slot = unwritten.newer(slot)) {
      const BlockNumber block = table_[slot].block();
      const bool busy = changes_below_.is_unit_busy(geometry_.range_of(block), preferred);
      if (!table_[slot].writing && !busy) oldest.push_back(block);
    }
    std::sort(oldest.begin(), oldest.end());
    if (oldest.empty()) {
      changed_.wait(mutex_);
    } else if (const auto failure = write_back_some(below, oldest)) {
      throw Error::reported(failure->code());
    }
  }
}

}  // namespace nbdstack
