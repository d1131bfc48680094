#include "filters/cache/block_table.hpp"

namespace nbdstack {
namespace {
constexpr std::size_t kFirstBuckets = 1024;
}

BlockTable::BlockTable(Slot max_slots) : max_slots_(max_slots), buckets_(kFirstBuckets, kNoSlot) {}

Slot BlockTable::find(BlockNumber block) const {
  Slot slot = buckets_[bucket_of(block)];
  while (slot != kNoSlot && entries_[slot].block != block) slot = entries_[slot].bucket_next;
  return slot;
}

Slot BlockTable::insert(BlockNumber block) {
  if (entries_.size() >= buckets_.size()) grow_buckets();
  Slot slot = free_;
  if (slot != kNoSlot) {
    free_ = entries_[slot].bucket_next;
  } else {
    slot = static_cast<Slot>(entries_.size());
    entries_.emplace_back();
  }
  Slot& head = buckets_[bucket_of(block)];
  entries_[slot] = {.block = block, .bucket_next = head, .attached = true};
  head = slot;
  recency_.push_front(slot);
  return slot;
}

void BlockTable::erase(Slot slot) {
  Entry& entry = entries_[slot];
  Slot* link = &buckets_[bucket_of(entry.block)];
  while (*link != slot) link = &entries_[*link].bucket_next;
  *link = entry.bucket_next;
  entry.attached = false;
  recency_.remove(slot);
  unwritten_.remove(slot);
  if (entry.pins == 0) release(slot);
}

void BlockTable::retire(Slot slot) {
  entries_[slot].retired = true;
  erase(slot);
}

void BlockTable::unpin(Slot slot) {
  Entry& entry = entries_[slot];
  if (--entry.pins == 0 && !entry.attached) release(slot);
}

void BlockTable::set_state(Slot slot, BlockState state) {
  entries_[slot].state = state;
  const bool unwritten =
      state == BlockState::dirty || state == BlockState::writing || state == BlockState::rewritten;
  if (!unwritten) {
    unwritten_.remove(slot);
  } else if (!unwritten_.contains(slot)) {
    unwritten_.push_front(slot);
  }
}

void BlockTable::grow_buckets() {
  buckets_.assign(buckets_.size() * 2, kNoSlot);
  for (Slot slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (!entry.attached) continue;  // a free slot's link belongs to the chain of free ones
    Slot& head = buckets_[bucket_of(entry.block)];
    entry.bucket_next = head;
    head = slot;
  }
}

void BlockTable::release(Slot slot) {
  if (entries_[slot].retired) return;
  entries_[slot].bucket_next = free_;
  free_ = slot;
}

}  // namespace nbdstack
