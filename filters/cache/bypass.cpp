#include "filters/cache/bypass.hpp"

#include <algorithm>

#include "common/error.hpp"

namespace nbdstack {

BlockCache::Bypass::Bypass(BlockCache& cache, const Range& range) : cache_(cache), range_(range) {
  Lock lock(cache_.mutex_);
  registered_ = cache_.bypasses_.insert(cache_.bypasses_.end(), range);
  cache_.supersede_fetches(lock, range);
  // Blocks may become cached while we wait, so look again at all of them each time.
  cache_.changed_.wait(lock, [&] {
    held_ = cached(lock);
    return std::all_of(held_.begin(), held_.end(), [&](Slot slot) {
      const BlockState state = cache_.table_[slot].state;
      return state == BlockState::clean || state == BlockState::dirty;
    });
  });
  for (const Slot slot : held_) {
    cache_.table_.pin(slot);
    ++cache_.table_[slot].holds;
  }
}

BlockCache::Bypass::~Bypass() {
  Lock lock(cache_.mutex_);
  for (const Slot slot : held_) {
    --cache_.table_[slot].holds;
    cache_.table_.unpin(slot);
  }
  cache_.bypasses_.erase(registered_);
  cache_.changed_.notify_all();
}

std::vector<Slot> BlockCache::Bypass::cached(Lock& /*lock*/) const {
  std::vector<Slot> slots;
  const BlockGeometry& geometry = cache_.geometry_;
  const BlockNumber first = geometry.block_at(range_.offset);
  const BlockNumber end = geometry.block_at(range_.end() - 1).next();
  const BlockTable& table = cache_.table_;
  if (end.value - first.value > table.cached_blocks()) {
    // A trim of terabytes looks at what is cached, not at every block there might be.
    for (Slot slot = table.recency().back(); slot != kNoSlot; slot = table.recency().newer(slot)) {
      if (table[slot].block >= first && table[slot].block < end) slots.push_back(slot);
    }
    return slots;
  }
  for (BlockNumber block = first; block < end; ++block) {
    if (const Slot slot = table.find(block); slot != kNoSlot) slots.push_back(slot);
  }
  return slots;
}

void BlockCache::Bypass::forget_clean() {
  Lock lock(cache_.mutex_);
  for (const Slot slot : held_) {
    const BlockTable::Entry& entry = cache_.table_[slot];
    if (entry.attached && entry.state == BlockState::clean) cache_.table_.erase(slot);
  }
}

void BlockCache::Bypass::drop_whole_blocks() {
  std::vector<Slot> dropped;
  {
    const Lock lock(cache_.mutex_);
    for (const Slot slot : held_) {
      const BlockTable::Entry& entry = cache_.table_[slot];
      if (!entry.attached || !range_.contains(cache_.geometry_.range_of(entry.block))) continue;
      cache_.table_.erase(slot);
      dropped.push_back(slot);
    }
  }
  for (const Slot slot : dropped)
    cache_.file_.discard(slot);  // our pins keep them from being reused
}

void BlockCache::Bypass::apply_zeros() {
  drop_whole_blocks();
  const std::vector<std::byte> zeros(cache_.settings_.block_size);
  write_slots([&](const BlockPiece& piece) { return std::span(zeros).first(piece.length); });
}

void BlockCache::Bypass::apply_data(std::span<const std::byte> data) {
  write_slots(
      [&](const BlockPiece& piece) { return data.subspan(piece.offset_in_request, piece.length); });
  for (const BlockPiece& piece : cache_.geometry_.split(range_)) {
    if (!cache_.geometry_.is_whole(piece)) continue;
    store_absent(piece.block, data.subspan(piece.offset_in_request, piece.length));
  }
}

// A whole block that has just gone below can be kept, clean, where there is room without writing
// anything back.
void BlockCache::Bypass::store_absent(BlockNumber block, std::span<const std::byte> data) {
  Lock lock(cache_.mutex_);
  if (cache_.table_.find(block) != kNoSlot) return;
  const auto slot = cache_.take_slot(lock, block);
  if (!slot) return;
  cache_.table_.pin(*slot);
  cache_.fill_slot(lock, *slot, data);
}

// A slot that cannot be written is as good as none, where the block is clean. Where it is dirty its
// own data is still to be written back over what has just gone below, so the change is reported as
// failed.
void BlockCache::Bypass::write_slots(
    const std::function<std::span<const std::byte>(const BlockPiece&)>& data_of) {
  for (const Slot slot : held_) {
    Lock lock(cache_.mutex_);
    const BlockTable::Entry entry = cache_.table_[slot];
    lock.unlock();
    if (!entry.attached) continue;
    const Range block = cache_.geometry_.range_of(entry.block);
    const Range part = range_.intersection(block);
    const BlockPiece piece{
        .block = entry.block,
        .offset_in_block = static_cast<std::uint32_t>(part.offset - block.offset),
        .length = static_cast<std::uint32_t>(part.length),
        .offset_in_request = part.offset - range_.offset};
    try {
      cache_.file_.write(slot, data_of(piece), piece.offset_in_block);
    } catch (const Error&) {
      lock.lock();
      if (cache_.table_[slot].state != BlockState::clean) throw;
      cache_.table_.erase(slot);
    }
  }
}

}  // namespace nbdstack
