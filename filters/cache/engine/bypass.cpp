#include "filters/cache/engine/bypass.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

// The other constructor has ended: whatever fails here, the destructor runs.
BlockCache::Bypass::Bypass(BlockCache& cache, Layer& below, const Range& range)
    : Bypass(cache, range) {
  const Range blocks = cache_.blocks_covering(range);
  {
    MutexLock lock(cache_.mutex_);
    const std::vector<Range> zeros = cache_.residents_.zeros_in(blocks);
    lock.unlock();
    if (!zeros.empty()) cache_.write_back(below, {}, zeros, Durability::on_flush);
  }
  MutexLock lock(cache_.mutex_);
  cache_.changes_below_.begin_bypass(place_, range);
  cache_.fetches_.supersede(range);
  while (cache_.changes_below_.is_written_back(range)) cache_.changed_.wait(cache_.mutex_);
  std::vector<Slot> held = cache_.residents_.cached_in(range);
  for (const Slot slot : held) cache_.residents_.pin(slot);
  held_ = std::move(held);
  for (const Slot slot : held_) {
    while (cache_.residents_.is_attached(slot) && cache_.residents_.is_unverified(slot)) {
      cache_.verify(slot);
    }
  }
  lock.unlock();
  if (cache_.store_->is_durable()) forget_durably();
}

BlockCache::Bypass::~Bypass() {
  MutexLock lock(cache_.mutex_);
  for (const Slot slot : held_) cache_.give_back(slot);
  cache_.changes_below_.end_bypass(place_);
  cache_.changed_.notify_all();
}

void BlockCache::Bypass::commit() {
  if (held_dirty_) cache_.commit();
}

void BlockCache::Bypass::forget_durably() {
  {
    MutexLock lock(cache_.mutex_);
    for (const Slot slot : held_) {
      held_dirty_ = held_dirty_ || cache_.residents_.pages(slot).dirty != 0;
      forget_clean_pages(slot);
    }
  }
  cache_.commit();
}

// A block with nothing dirty is dropped. Of one with dirty pages the clean ones that the range
// touches are forgotten; their content is not asked for, so the whole block's checksum could not
// say anything about the rest: it is taken anew from what stays.
void BlockCache::Bypass::forget_clean_pages(Slot slot) {
  if (!cache_.residents_.is_attached(slot)) return;
  if (cache_.residents_.pages(slot).dirty == 0) {
    cache_.residents_.drop(slot);
    return;
  }
  const Range block = cache_.geometry_.range_of(cache_.residents_[slot].block());
  const Range part = range_.intersection(block);
  const PageMask touched =
      cache_.pages_.touched(static_cast<std::uint32_t>(part.offset - block.offset),
                            static_cast<std::uint32_t>(part.length));
  cache_.forget_pages(slot, touched);
}

void BlockCache::Bypass::forget_clean() {
  MutexLock lock(cache_.mutex_);
  cache_.ledger_.doubt();
  for (const Slot slot : held_) forget_clean_pages(slot);
}

void BlockCache::Bypass::drop_whole_blocks() {
  std::vector<Slot> dropped;
  dropped.reserve(held_.size());
  {
    MutexLock lock(cache_.mutex_);
    for (const Slot slot : held_) {
      const BlockTable::Entry& entry = cache_.residents_[slot];
      if (!entry.is_attached()) continue;
      if (!range_.contains(cache_.geometry_.range_of(entry.block()))) continue;
      cache_.residents_.drop(slot);
      dropped.push_back(slot);
    }
  }
  // Our pins keep them from being reused.
  for (const Slot slot : dropped) cache_.store_->discard(slot);
}

void BlockCache::Bypass::apply_zeros() {
  drop_whole_blocks();
  const std::vector<std::byte> zeros(cache_.settings_.block_size);
  for (const Slot slot : held_) {
    MutexLock lock(cache_.mutex_);
    if (!cache_.residents_.is_attached(slot)) continue;
    const BlockNumber number = cache_.residents_[slot].block();
    lock.unlock();
    const Range block = cache_.geometry_.range_of(number);
    const Range part = range_.intersection(block);
    const BlockPiece piece{
        .block = number,
        .offset_in_block = static_cast<std::uint32_t>(part.offset - block.offset),
        .length = static_cast<std::uint32_t>(part.length),
        .offset_in_request = part.offset - range_.offset};
    write_slot(slot, piece, std::span(zeros).first(piece.length));
  }
}

void BlockCache::Bypass::apply_data(std::span<const std::byte> data) {
  for (const BlockPiece& piece : cache_.geometry_.split(range_)) {
    const auto part = data.subspan(piece.offset_in_request, piece.length);
    MutexLock lock(cache_.mutex_);
    const Slot slot = cache_.residents_.find(piece.block);
    lock.unlock();
    if (slot != kNoSlot) {
      write_slot(slot, piece, part);
    } else if (cache_.geometry_.is_whole(piece)) {
      store_absent(piece.block, part);
    }
  }
}

// A whole block that has just gone below can be kept, clean, where there is room without writing
// anything back.
void BlockCache::Bypass::store_absent(BlockNumber block, std::span<const std::byte> data) {
  MutexLock lock(cache_.mutex_);
  const auto slot = cache_.residents_.take_slot(block);
  if (!slot) return;
  cache_.residents_.pin(*slot);
  lock.unlock();
  Pin pin(cache_, *slot);
  StoredPages stored;
  try {
    stored = cache_.store_->write(*slot, data, 0, 0);
  } catch (const Error& error) {
    cache_.storage_failed(error);
    return;
  }
  lock.lock();
  cache_.residents_.wrote(*slot, stored, false);
  cache_.storage_worked(*slot);
  pin.give_back(cache_);
}

// Pages that are cached take the data; they stay as clean or dirty as they are. What was damaged is
// below now. Clean pages that cannot be written leave the cache. Where dirty ones cannot, their own
// data is still to be written back over what has just gone below, so the change is reported as
// failed. Other pages of the block may become dirty at any moment.
void BlockCache::Bypass::write_slot(Slot slot, const BlockPiece& piece,
                                    std::span<const std::byte> data) {
  MutexLock lock(cache_.mutex_);
  if (!cache_.residents_.is_attached(slot) || cache_.residents_[slot].block() != piece.block)
    return;
  cache_.residents_.pin(slot);
  const Pages before = cache_.residents_.pages(slot);
  lock.unlock();
  Pin pin(cache_, slot);
  const PageMask touched = cache_.pages_.touched(piece.offset_in_block, piece.length);
  const PageMask covered = cache_.pages_.covered(piece.offset_in_block, piece.length,
                                                 cache_.geometry_.length_of(piece.block));
  bool failed = false;
  const auto store = [&](std::uint32_t offset, std::uint32_t length, bool usable, bool dirty) {
    if (!usable || failed) return;
    const auto part = data.subspan(offset - piece.offset_in_block, length);
    failed = !write_part(slot, part, offset, before.stored(), dirty);
  };
  const PageMask usable = before.valid;
  cache_.pages_.for_each_part(piece.offset_in_block, piece.length, before.dirty,
                              [&](std::uint32_t offset, std::uint32_t length, bool dirty) {
                                cache_.pages_.for_each_part(
                                    offset, length, usable,
                                    [&](std::uint32_t at, std::uint32_t count, bool is_usable) {
                                      store(at, count, is_usable, dirty);
                                    });
                              });
  lock.lock();
  if (!cache_.residents_.is_attached(slot)) {
    failed = false;
  } else if (!failed) {
    cache_.residents_.cure(slot, covered & before.damaged());
  } else if (cache_.residents_.pages(slot).dirty == 0) {
    cache_.residents_.retire(slot);
  } else {  // what is clean may be older now than what is below
    cache_.forget_pages(slot, touched);
  }
  pin.give_back(cache_);
  lock.unlock();
  if (failed && (before.dirty & touched) != 0) {
    throw Error(EIO, "cache: written below, but not over the newer data in the cache");
  }
}

// Returns false where the storage failed. What the store has noted, the table says too, whatever
// becomes of the other parts.
bool BlockCache::Bypass::write_part(Slot slot, std::span<const std::byte> data,
                                    std::uint32_t offset_in_block, PageMask stored_before,
                                    bool dirty) {
  StoredPages stored;
  try {
    stored = cache_.store_->write(slot, data, offset_in_block, stored_before);
  } catch (const Error& error) {
    cache_.storage_failed(error);
    return false;
  }
  MutexLock lock(cache_.mutex_);
  if (!cache_.residents_.is_attached(slot)) return true;
  cache_.residents_.wrote(slot, stored, dirty);
  return true;
}

}  // namespace nbdstack
