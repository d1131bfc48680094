// The cache's index: the cached blocks, their slots, and the state of their pages.
//
// No I/O and no locking happen here; the owner holds its mutex around every call. Memory is
// proportional to the slots in use, whatever the size of the disk: an entry (20 bytes), the pages'
// masks (8 bytes up to 16 pages a block, else 32), the list of unwritten blocks (8), 2 to 4 bytes
// of hash buckets, and what the eviction policy keeps (8 for LRU).
//
// The states of a block follow from its pages (page_mask.hpp) and one flag, `writing`: some of its
// pages are being written below.
//
//   state      in the table  writing  unwritten pages   written back      evicted
//   absent     no
//   clean      yes           no       none              no                yes
//   dirty      yes           no       some              yes: -> writing   no
//   writing    yes           yes      none              is under way      no
//   rewritten  yes           yes      some: changed     afterwards        no
//                                     since it began
//
//   absent -> clean                pages were fetched from below and stored
//   absent, clean -> dirty         a client wrote or zeroed pages
//   writing -> rewritten           the same, during a write-back: neither waits for the other
//   dirty -> writing               a write-back began: the pages it takes are not dirty any more
//   writing -> clean               the write-back ended
//   rewritten -> dirty             the write-back ended, and there is more to write
//   writing, rewritten -> dirty    the write-back failed: its pages are dirty again
//   clean -> absent                evicted; or the content of a change that failed below is unknown
//   clean, dirty -> absent         all of it was zeroed: kept as a range, not in a slot
//
// "Reading" is no state of an entry: a fetch has records of its own (fetches.hpp), and a block
// being fetched may be absent or have some pages already.
//
// While `pins` is not 0 a thread uses the slot's content outside the mutex: the block is not
// evicted, and if it is dropped for another reason, its slot is not used again before the last pin
// ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "common/block/range.hpp"
#include "common/invariant.hpp"
#include "filters/cache/policy/eviction_policy.hpp"
#include "filters/cache/slots/chunked_vector.hpp"
#include "filters/cache/slots/packed_masks.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"

namespace nbdstack {

class BlockTable {
 public:
  class Entry {
   public:
    [[nodiscard]] BlockNumber block() const {
      return {std::uint64_t{block_high_} << 32U | block_low_};
    }
    [[nodiscard]] bool is_attached() const { return attached_; }

    std::uint16_t dirty_since = 0;  // in the owner's ticks
    std::uint16_t cached_since = 0;
    std::uint16_t pins = 0;
    bool writing : 1 = false;
    // Its pages are being copied from the slot for a write-back: a change of the block waits, as
    // long as reading a local file takes.
    bool copying : 1 = false;
    bool unverified : 1 = false;  // recovered, and its content is not verified yet
    bool verifying : 1 = false;   // its content is being verified

   private:
    friend BlockTable;
    void set_block(BlockNumber block) {
      block_low_ = static_cast<std::uint32_t>(block.value);
      block_high_ = static_cast<std::uint32_t>(block.value >> 32U);
    }
    // The block number leads to this entry. If not, the slot is free, or will be once unpinned.
    bool attached_ : 1 = false;
    bool retired_ : 1 = false;  // has no storage
    // Two halves: with one 64-bit member an entry would be 24 bytes.
    std::uint32_t block_low_ = 0;
    std::uint32_t block_high_ = 0;
    Slot bucket_next_ = kNoSlot;  // hash chain; free slots are chained by it too
  };

  // `max_slots` bounds the number of slots for ever.
  BlockTable(Slot max_slots, unsigned pages_per_block, std::unique_ptr<EvictionPolicy> policy);

  // Returns the slot of a cached block, or kNoSlot.
  [[nodiscard]] Slot find(BlockNumber block) const;
  [[nodiscard]] Entry& operator[](Slot slot) { return entries_[slot]; }
  [[nodiscard]] const Entry& operator[](Slot slot) const { return entries_[slot]; }
  [[nodiscard]] Pages pages(Slot slot) const;
  // Keeps the list of unwritten blocks up to date. `writing` is set before.
  void set_pages(Slot slot, const Pages& pages);

  // Returns whether insert() would find a slot.
  [[nodiscard]] bool has_room() const { return free_ != kNoSlot || is_growing(); }
  // Gives an absent block a slot, with no page valid. Requires has_room().
  Slot insert(BlockNumber block);
  // Like insert(), for recovery, which chooses the slot; all slots in between stay free.
  void insert_at(Slot slot, BlockNumber block);
  // Called after all recovered slots are inserted: unused ones below `count` become free.
  void end_recovery(Slot count);

  // Makes the block absent. Its slot becomes free when the last pin ends.
  void erase(Slot slot, EvictionPolicy::Removal why = EvictionPolicy::Removal::dropped);
  // Like erase(), but the slot is not used before grow_again(): there is no storage for it.
  void retire(Slot slot);

  void pin(Slot slot) {
    INVARIANT(slot < slots(), slot, slots());
    INVARIANT(entries_[slot].pins != 0xffff, slot);
    if (entries_[slot].pins++ == 0) ++pinned_;
  }
  void unpin(Slot slot);
  void touch(Slot slot) { policy_->used(slot); }

  // Lowers the bound to the slots in use while the disk of the cache is full, and raises it again,
  // which makes retired slots free. In between, grow_by_one() makes one such slot the next that
  // insert() takes, and returns it, or kNoSlot while there are free slots that have storage.
  [[nodiscard]] bool is_growing() const { return entries_.size() < max_slots_; }
  void stop_growing() { max_slots_ = static_cast<Slot>(entries_.size()); }
  void grow_again();
  Slot grow_by_one();

  [[nodiscard]] std::size_t cached_blocks() const { return cached_; }
  [[nodiscard]] Slot max_slots() const { return max_slots_; }
  // Returns the number of slots that threads use outside the mutex.
  [[nodiscard]] std::size_t pinned_slots() const { return pinned_; }
  // Returns the number of blocks with damaged pages.
  [[nodiscard]] std::size_t damaged_blocks() const { return damaged_; }
  // Returns the number of slots that have ever been used.
  [[nodiscard]] Slot slots() const { return static_cast<Slot>(entries_.size()); }
  [[nodiscard]] EvictionPolicy& policy() { return *policy_; }
  [[nodiscard]] const EvictionPolicy& policy() const { return *policy_; }
  // Returns the blocks with pages that the layer below does not have yet (dirty, writing,
  // rewritten), with the first to become so at the back.
  [[nodiscard]] const SlotList& unwritten() const { return unwritten_; }

 private:
  [[nodiscard]] std::size_t bucket_of(BlockNumber block) const {
    return std::hash<BlockNumber>()(block) & (buckets_.size() - 1);
  }
  void attach(Slot slot, BlockNumber block);
  void grow_to(std::size_t slots);
  bool grow_buckets();
  void release(Slot slot);

  const Slot most_slots_;  // ever
  Slot max_slots_;         // now
  ChunkedVector<Entry> entries_;
  PackedMasks<4> pages_;       // valid, dirty, zero, hole
  std::vector<Slot> buckets_;  // heads of chains; a power of two, at least one for two entries
  Slot free_ = kNoSlot;        // head of the chain of free slots
  std::size_t cached_ = 0;
  std::size_t pinned_ = 0;
  std::size_t damaged_ = 0;
  SlotList unwritten_;
  std::unique_ptr<EvictionPolicy> policy_;
};

}  // namespace nbdstack
