#include "filters/cache/engine/block_cache.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {

BlockCache::BlockCache(const CacheSettings& settings, std::uint64_t size_bytes,
                       std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes)
    : settings_(settings),
      geometry_(size_bytes, settings.block_size),
      pages_(settings.block_size),
      store_(std::move(store)),
      reads_(reads),
      writes_(writes),
      below_writers_(static_cast<std::ptrdiff_t>(settings.threads)),
      fetches_(geometry_),
      changes_below_(size_bytes, settings.block_size),
      schedule_(settings, store_->is_durable()),
      pressure_(settings),
      residents_(settings_, geometry_, pages_, *store_, fetches_, pressure_, schedule_),
      is_pressed_(pressure_.flag()) {
  residents_.take_over(store_->recover());
  if (residents_.has_unwritten()) schedule_.want_everything();
}

std::uint64_t BlockCache::cached_bytes() const {
  const MutexLock lock(mutex_);
  return residents_.cached_bytes();
}

std::uint64_t BlockCache::unwritten_bytes() const {
  const MutexLock lock(mutex_);
  return residents_.unwritten_bytes();
}

bool BlockCache::has_unwritten() const {
  const MutexLock lock(mutex_);
  return residents_.has_unwritten();
}

std::size_t BlockCache::waiting_for_fetches() const {
  const MutexLock lock(mutex_);
  return fetches_.waiting();
}

void BlockCache::give_back(Slot slot) {
  residents_.unpin(slot);
  changed_.notify_all();
}

void BlockCache::discard_dropped() {
  const std::vector<Slot> slots = residents_.to_discard();
  if (slots.empty()) return;
  {
    const MutexUnlock unlocked(mutex_);
    for (const Slot slot : slots) {
      try {
        store_->discard(slot);
      } catch (const std::exception&) {
        // Its storage is used on.
      }
    }
  }
  for (const Slot slot : slots) residents_.discarded(slot);
}

// The caller owns them, and has pinned the slot; nothing of it is on its way below. What a fetch has
// read of them may be older than what they held. They are not valid before the mutex is released: no
// write-back may complete a request with what is in their place.
void BlockCache::forget_pages(Slot slot, PageMask touched) {
  if (!residents_.is_attached(slot)) return;
  const Pages before = residents_.pages(slot);
  const PageMask clean = residents_.forget_clean(slot, touched);
  if (clean == 0) return;
  StoredPages given_up;
  try {
    const MutexUnlock unlocked(mutex_);
    given_up = store_->forget(slot, clean, before.stored() & clean);
  } catch (const std::exception&) {  // the store has them still
    if (residents_.is_attached(slot)) residents_.remember(slot, before, clean);
    throw;
  }
  if (residents_.is_attached(slot)) residents_.forgotten(slot, given_up);
}

Slot BlockCache::find_verified(BlockNumber block) {
  Slot slot = residents_.find(block);
  while (residents_.is_unverified(slot)) {
    verify(slot);
    slot = residents_.find(block);
  }
  return slot;
}

void BlockCache::verify(Slot slot) {
  const BlockNumber block = residents_[slot].block();
  if (residents_[slot].verifying) {
    while (residents_.find(block) == slot && residents_[slot].verifying) changed_.wait(mutex_);
    return;
  }
  const PageMask stored = residents_.pages(slot).stored();
  residents_.begin_verify(slot);
  bool intact = stored == 0;
  bool looked = true;
  try {
    const MutexUnlock unlocked(mutex_);
    intact = intact || store_->verify(slot, stored);
  } catch (const Error& error) {
    intact = false;
  } catch (const std::bad_alloc&) {
    looked = false;  // who comes next looks again
  }
  const auto damaged = residents_.end_verify(slot, looked, intact);
  const Range range = geometry_.range_of(residents_[slot].block());
  give_back(slot);
  if (!looked) throw std::bad_alloc();
  if (damaged) report_damaged(*damaged, range);
}

void BlockCache::report_damaged(const Pages& before, const Range& range) const {
  if ((before.stored() & before.dirty) == 0) {
    log::debug("cache: the cached copy of the block at offset {} is damaged: it is dropped",
               range.offset);
  }
  for_each_page_run(before.stored() & before.dirty, [&](unsigned first, unsigned count) {
    log::error(
        "cache: {} bytes at offset {} were written by a client, had not reached the plugin, and "
        "are DAMAGED in {}: reading them and flushing are errors until they are overwritten, "
        "zeroed or trimmed",
        std::min<std::uint64_t>(std::uint64_t{count} * pages_.page_size(),
                                range.length - pages_.offset_of(first)),
        range.offset + pages_.offset_of(first), store_->name());
  });
}

// A flush cannot make durable what is lost. The client gets rid of the error by getting rid of what
// is damaged.
void BlockCache::report_damage() {
  const MutexLock lock(mutex_);
  if (residents_.damaged_blocks() == 0) return;
  throw Error(
      EIO, fmt::format("cache: what clients wrote to {} blocks, the first of them at offset "
                       "{}, was damaged in {} before it reached the plugin: a flush "
                       "succeeds again when all of it is overwritten, zeroed or trimmed",
                       residents_.damaged_blocks(), geometry_.offset_of(residents_.first_damaged()),
                       store_->name()));
}

void BlockCache::run_in_parallel(const Layer& below, WorkerPool& pool, std::size_t count,
                                 const std::function<void(std::size_t)>& body) {
  if (below.traits().parallel) {
    pool.run(count, body);
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

Range BlockCache::pages_covering(const Range& range) const {
  const std::uint64_t mask = pages_.page_size() - 1;
  const std::uint64_t first = range.offset & ~mask;
  return {first, std::min(geometry_.size_bytes(), (range.end() + mask) & ~mask) - first};
}

void BlockCache::say(const char* what, BlockNumber block) const {
  if (settings_.verbose) {
    log::debug("cache: {} block {} (offset {})", what, block.value, geometry_.offset_of(block));
  }
}

}  // namespace nbdstack
