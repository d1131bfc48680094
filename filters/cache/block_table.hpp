// Which blocks are cached, in which slot of the cache file, and in what state: the cache's index.
//
// No I/O and no locking happen here; the owner holds its mutex around every call. Memory is
// proportional to the slots in use, whatever the size of the disk: an entry (24 bytes), two pairs
// of links (16) and at most 8 bytes of hash buckets.
//
// The states of a cached block. "Slot" is its content in the cache file.
//
//   state      slot holds                      below holds     read   written back     evicted
//   storing    nothing yet, being written      older or same   waits  no               no
//   clean      the block                       the same        yes    no               yes
//   dirty      the block, newer than below     older           yes    yes: -> writing  no
//   writing    the block                       on its way      yes    is under way     no
//   rewritten  the block, changed since its    an older one    yes    afterwards       no
//              write-back began                on its way
//
//   storing -> clean               a fill was stored
//   storing -> dirty               a client's write of the whole block was stored
//   clean -> dirty                 a client wrote
//   writing -> rewritten           a client wrote
//   dirty -> writing               a write-back began
//   writing -> clean               the write-back succeeded
//   rewritten -> dirty             the write-back ended, and there is more to write
//   writing -> dirty               the write-back failed: nothing is lost, it is tried again
//   clean -> (absent)              evicted
//   clean, dirty -> (absent)       overtaken below by a zero or trim
//   clean -> (absent)              a change that went around the cache failed below
//   storing -> (absent)            the cache's file failed
//
// Two counters stand beside the state. While `pins` is not 0 somebody uses the slot's content
// outside the mutex, and the slot is not given to another block. While `holds` is not 0 an
// operation on the same block is under way in the layer below, and the block is neither written
// back nor evicted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/block/range.hpp"
#include "filters/cache/slot_list.hpp"

namespace nbdstack {

enum class BlockState : std::uint8_t { storing, clean, dirty, writing, rewritten };

class BlockTable {
 public:
  struct Entry {
    BlockNumber block;
    Slot bucket_next = kNoSlot;  // hash chain; free slots are chained by it too
    std::uint16_t pins = 0;
    std::uint16_t holds = 0;
    BlockState state = BlockState::storing;
    bool attached =
        false;  // found under its block number; false: free, or free as soon as it is unpinned
    bool retired = false;  // has no storage and is not used again
  };

  // `max_slots` bounds how many slots there will ever be.
  explicit BlockTable(Slot max_slots);

  // The slot of a cached block, or kNoSlot.
  [[nodiscard]] Slot find(BlockNumber block) const;
  [[nodiscard]] Entry& operator[](Slot slot) { return entries_[slot]; }
  [[nodiscard]] const Entry& operator[](Slot slot) const { return entries_[slot]; }

  // Whether insert() would find a slot.
  [[nodiscard]] bool has_room() const { return free_ != kNoSlot || is_growing(); }
  // Gives an absent block a slot, in state storing, as the most recently used. Needs has_room().
  Slot insert(BlockNumber block);
  // The block is absent from now on. Its slot becomes free when the last pin goes.
  void erase(Slot slot);
  // The same, and the slot is never used again: there is no storage for it.
  void retire(Slot slot);

  void pin(Slot slot) { ++entries_[slot].pins; }
  void unpin(Slot slot);
  void touch(Slot slot) { recency_.move_to_front(slot); }
  // Keeps the list of blocks that a flush has to look at in step with the state.
  void set_state(Slot slot, BlockState state);

  // Lowers the bound to what is in use: the disk of the cache file is full.
  [[nodiscard]] bool is_growing() const { return entries_.size() < max_slots_; }
  void stop_growing() { max_slots_ = static_cast<Slot>(entries_.size()); }

  [[nodiscard]] std::size_t cached_blocks() const { return recency_.size(); }
  [[nodiscard]] Slot max_slots() const { return max_slots_; }
  // Blocks from the least to the most recently used.
  [[nodiscard]] const SlotList& recency() const { return recency_; }
  // Blocks whose content the layer below does not have yet (dirty, writing, rewritten), oldest
  // first.
  [[nodiscard]] const SlotList& unwritten() const { return unwritten_; }

 private:
  [[nodiscard]] std::size_t bucket_of(BlockNumber block) const {
    return std::hash<BlockNumber>()(block) & (buckets_.size() - 1);
  }
  void grow_buckets();
  void release(Slot slot);

  Slot max_slots_;
  std::vector<Entry> entries_;
  std::vector<Slot> buckets_;  // heads of chains; a power of two, at least one for each entry
  Slot free_ = kNoSlot;        // head of the chain of free slots
  SlotList recency_;
  SlotList unwritten_;
};

}  // namespace nbdstack
