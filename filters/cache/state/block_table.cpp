#include "filters/cache/state/block_table.hpp"

#include <new>
#include <utility>

namespace nbdstack {
namespace {
constexpr std::size_t kFirstBuckets = 1024;
}

BlockTable::BlockTable(Slot max_slots, unsigned pages_per_block,
                       std::unique_ptr<EvictionPolicy> policy)
    : most_slots_(max_slots),
      max_slots_(max_slots),
      pages_(pages_per_block),
      buckets_(kFirstBuckets, kNoSlot),
      policy_(std::move(policy)) {}

Slot BlockTable::find(BlockNumber block) const {
  Slot slot = buckets_[bucket_of(block)];
  while (slot != kNoSlot && entries_[slot].block() != block) slot = entries_[slot].bucket_next_;
  return slot;
}

Pages BlockTable::pages(Slot slot) const {
  const auto [valid, dirty, zero, hole] = pages_[slot];
  return {valid, dirty, zero, hole};
}

void BlockTable::set_pages(Slot slot, const Pages& pages) {
  const bool was_damaged = this->pages(slot).damaged() != 0;
  if (was_damaged) --damaged_;
  if (pages.damaged() != 0) ++damaged_;
  pages_.set(slot, {pages.valid, pages.dirty, pages.zero, pages.hole});
  const bool unwritten = pages.unwritten() != 0 || entries_[slot].writing;
  if (!unwritten) {
    unwritten_.remove(slot);
  } else if (!unwritten_.contains(slot)) {
    unwritten_.push_front(slot);
  }
}

// Allocations come before the entries: an existing slot has everything it needs, and set_pages()
// allocates nothing.
void BlockTable::grow_to(std::size_t slots) {
  pages_.grow_to(slots);
  unwritten_.reach(slots);
  entries_.grow_to(slots);
  while (entries_.size() > buckets_.size() * 2 && grow_buckets()) {
  }
}

Slot BlockTable::insert(BlockNumber block) {
  Slot slot = free_;
  if (slot == kNoSlot) {
    slot = slots();
    grow_to(std::size_t{slot} + 1);
    release(slot);
  }
  const Slot next = entries_[slot].bucket_next_;
  attach(slot, block);
  free_ = next;
  return slot;
}

void BlockTable::insert_at(Slot slot, BlockNumber block) {
  grow_to(std::size_t{slot} + 1);
  attach(slot, block);
}

void BlockTable::end_recovery(Slot count) {
  grow_to(count);
  for (Slot slot = slots(); slot-- > 0;) {
    if (!entries_[slot].attached_) release(slot);
  }
}

// The policy comes first: if it runs out of memory, nothing has changed.
void BlockTable::attach(Slot slot, BlockNumber block) {
  COSTLY_INVARIANT(find(block) == kNoSlot, slot, block.value);
  INVARIANT(!entries_[slot].attached_ && entries_[slot].pins == 0, slot, block.value);
  policy_->inserted(slot, block);
  Slot& head = buckets_[bucket_of(block)];
  Entry& entry = entries_[slot];
  entry = Entry();
  entry.set_block(block);
  entry.bucket_next_ = head;
  entry.attached_ = true;
  head = slot;
  set_pages(slot, {});
  ++cached_;
}

void BlockTable::erase(Slot slot, EvictionPolicy::Removal why) {
  Entry& entry = entries_[slot];
  INVARIANT(entry.attached_, slot);
  Slot* link = &buckets_[bucket_of(entry.block())];
  while (*link != slot) link = &entries_[*link].bucket_next_;
  *link = entry.bucket_next_;
  entry.attached_ = false;
  entry.writing = false;
  set_pages(slot, {});
  policy_->removed(slot, entry.block(), why);
  --cached_;
  if (entry.pins == 0) release(slot);
}

void BlockTable::retire(Slot slot) {
  entries_[slot].retired_ = true;
  erase(slot);
}

void BlockTable::unpin(Slot slot) {
  Entry& entry = entries_[slot];
  INVARIANT(entry.pins != 0, slot);
  if (--entry.pins != 0) return;
  --pinned_;
  if (!entry.attached_) release(slot);
}

void BlockTable::grow_again() {
  max_slots_ = most_slots_;
  for (Slot slot = 0; slot < slots(); ++slot) {
    Entry& entry = entries_[slot];
    if (!entry.retired_) continue;
    entry.retired_ = false;
    if (!entry.attached_ && entry.pins == 0) release(slot);
  }
}

Slot BlockTable::grow_by_one() {
  for (Slot slot = 0; slot < slots(); ++slot) {
    Entry& entry = entries_[slot];
    if (!entry.retired_ || entry.attached_ || entry.pins != 0) continue;
    entry.retired_ = false;
    release(slot);
    return slot;
  }
  if (free_ != kNoSlot || slots() >= most_slots_) return kNoSlot;
  max_slots_ = slots() + 1;
  return slots();
}

// Returns false if memory is short: longer chains work as well.
bool BlockTable::grow_buckets() {
  try {
    buckets_.assign(buckets_.size() * 2, kNoSlot);
  } catch (const std::bad_alloc&) {
    return false;
  }
  for (Slot slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (!entry.attached_) continue;  // a free slot's link belongs to the chain of free ones
    Slot& head = buckets_[bucket_of(entry.block())];
    entry.bucket_next_ = head;
    head = slot;
  }
  return true;
}

void BlockTable::release(Slot slot) {
  if (entries_[slot].retired_) return;
  entries_[slot].bucket_next_ = free_;
  free_ = slot;
}

}  // namespace nbdstack
