#include "filters/cache/engine/bypass.hpp"

#include <algorithm>
#include <utility>

#include "common/error.hpp"

namespace nbdstack {

// The other constructor has ended, so the destructor runs even if this one fails.
Bypass::Bypass(GuardedState& state, WriteBacks& write_backs, Layer& below, const Range& range)
    : Bypass(state, range) {
  const Range blocks = state_.blocks_covering(range);
  {
    MutexLock lock(state_.mutex);
    const std::vector<Range> zeros = state_.residents.zeros_in(blocks);
    lock.unlock();
    if (!zeros.empty()) write_backs.run(below, {}, zeros);
  }
  MutexLock lock(state_.mutex);
  state_.changes_below.begin_bypass(place_, range);
  state_.fetches.supersede(range);
  while (state_.changes_below.is_written_back(range)) state_.changed.wait(state_.mutex);
  std::vector<Slot> held = state_.residents.cached_in(range);
  for (const Slot slot : held) state_.residents.pin(slot);
  held_ = std::move(held);
  for (const Slot slot : held_) {
    while (state_.residents.is_attached(slot) && state_.residents.is_unverified(slot)) {
      state_.verify(slot);
    }
  }
  lock.unlock();
  if (state_.store->is_durable()) forget_durably();
}

Bypass::~Bypass() {
  MutexLock lock(state_.mutex);
  for (const Slot slot : held_) state_.give_back(slot);
  state_.changes_below.end_bypass(place_);
  state_.changed.notify_all();
}

void Bypass::commit() {
  if (held_dirty_) state_.commit();
}

void Bypass::forget_durably() {
  {
    MutexLock lock(state_.mutex);
    for (const Slot slot : held_) {
      held_dirty_ = held_dirty_ || state_.residents.pages(slot).dirty != 0;
      forget_clean_pages(slot);
    }
  }
  state_.commit();
}

// Drops a block without dirty pages. In a block with dirty pages, the touched clean ones are
// forgotten. Their content is not read, so the block's checksum is not known for the rest: it is
// computed anew from the remaining pages.
void Bypass::forget_clean_pages(Slot slot) {
  if (!state_.residents.is_attached(slot)) return;
  if (state_.residents.pages(slot).dirty == 0) {
    state_.residents.drop(slot);
    return;
  }
  const Range block = state_.geometry.range_of(state_.residents[slot].block());
  state_.forget_pages(slot, state_.pages_touched(block, range_));
}

void Bypass::forget_clean() {
  MutexLock lock(state_.mutex);
  state_.ledger.doubt();
  for (const Slot slot : held_) forget_clean_pages(slot);
}

void Bypass::drop_whole_blocks() {
  std::vector<Slot> dropped;
  dropped.reserve(held_.size());
  {
    MutexLock lock(state_.mutex);
    for (const Slot slot : held_) {
      const BlockTable::Entry& entry = state_.residents[slot];
      if (!entry.is_attached()) continue;
      if (!range_.contains(state_.geometry.range_of(entry.block()))) continue;
      state_.residents.drop(slot);
      dropped.push_back(slot);
    }
  }
  // Our pins prevent the reuse of the slots.
  for (const Slot slot : dropped) state_.store->discard(slot);
}

void Bypass::apply_zeros() {
  drop_whole_blocks();
  const std::vector<std::byte> zeros(state_.settings.block_size);
  for (const Slot slot : held_) {
    MutexLock lock(state_.mutex);
    if (!state_.residents.is_attached(slot)) continue;
    const BlockNumber number = state_.residents[slot].block();
    lock.unlock();
    const Range block = state_.geometry.range_of(number);
    const Range part = range_.intersection(block);
    const BlockPiece piece{
        .block = number,
        .offset_in_block = static_cast<std::uint32_t>(part.offset - block.offset),
        .length = static_cast<std::uint32_t>(part.length),
        .offset_in_request = part.offset - range_.offset};
    write_slot(slot, piece, std::span(zeros).first(piece.length));
  }
}

void Bypass::apply_data(std::span<const std::byte> data) {
  for (const BlockPiece& piece : state_.geometry.split(range_)) {
    const auto part = data.subspan(piece.offset_in_request, piece.length);
    MutexLock lock(state_.mutex);
    const Slot slot = state_.residents.find(piece.block);
    if (slot == kNoSlot && state_.geometry.is_whole(piece)) state_.fill(piece.block, part);
    lock.unlock();
    if (slot != kNoSlot) write_slot(slot, piece, part);
  }
}

// Writes the data to cached pages, which stay clean or dirty as they are. Damaged ones are below
// now. Clean pages that cannot be written leave the cache. If dirty ones cannot be written, their
// old content will be written back over the change below, so the change is reported as failed.
// Other pages of the block may become dirty at any moment.
void Bypass::write_slot(Slot slot, const BlockPiece& piece, std::span<const std::byte> data) {
  MutexLock lock(state_.mutex);
  if (!state_.residents.is_attached(slot) || state_.residents[slot].block() != piece.block) return;
  state_.residents.pin(slot);
  const Pages before = state_.residents.pages(slot);
  lock.unlock();
  Pin pin(state_, slot);
  const PageMask touched = state_.pages.touched(piece.offset_in_block, piece.length);
  const PageMask covered = state_.pages.covered(piece.offset_in_block, piece.length,
                                                state_.geometry.length_of(piece.block));
  bool failed = false;
  const auto store = [&](std::uint32_t offset, std::uint32_t length, bool usable, bool dirty) {
    if (!usable || failed) return;
    const auto part = data.subspan(offset - piece.offset_in_block, length);
    failed = !write_part(slot, part, offset, before.stored(), dirty);
  };
  const PageMask usable = before.valid;
  state_.pages.for_each_part(piece.offset_in_block, piece.length, before.dirty,
                             [&](std::uint32_t offset, std::uint32_t length, bool dirty) {
                               state_.pages.for_each_part(
                                   offset, length, usable,
                                   [&](std::uint32_t at, std::uint32_t count, bool is_usable) {
                                     store(at, count, is_usable, dirty);
                                   });
                             });
  lock.lock();
  if (!state_.residents.is_attached(slot)) {
    failed = false;
  } else if (!failed) {
    state_.residents.cure(slot, covered & before.damaged());
  } else if (state_.residents.pages(slot).dirty == 0) {
    state_.residents.retire(slot);
  } else {  // what is clean may be older now than what is below
    state_.forget_pages(slot, touched);
  }
  pin.give_back(state_);
  lock.unlock();
  if (failed && (before.dirty & touched) != 0) {
    throw Error(EIO, "cache: written below, but not over the newer data in the cache");
  }
}

// Returns false if the storage failed. The table records the same as the store, even if the other
// parts fail.
bool Bypass::write_part(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                        PageMask stored_before, bool dirty) {
  WriteReceipt stored;
  try {
    stored = state_.store->write(slot, data, offset_in_block, stored_before);
  } catch (const Error& error) {
    state_.storage_failed(error);
    return false;
  }
  MutexLock lock(state_.mutex);
  if (!state_.residents.is_attached(slot)) return true;
  state_.residents.wrote(slot, stored, dirty);
  return true;
}

}  // namespace nbdstack
