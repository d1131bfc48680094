// Externally synchronized: which blocks are cached, in which slots and as which pages, and which
// ranges are remembered as zeros. Every step of a slot's life goes through here: the table
// (block_table.hpp), what the store hears (CacheLog), the fetches and the zeros never disagree.
//
// What holds between any two calls:
//  - A block is in the table or its range is among the zeros or it is not cached; never both.
//  - A block that leaves the table takes its fetch with it, so that no fill remembers what was there
//    before.
//  - Nothing dirty, pinned or on its way below is evicted.
//  - The store has been told of each slot what the table says.
//
// No file I/O happens here: content is read and written by the owner, which pins the slot meanwhile.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "common/block/range.hpp"
#include "common/block/run_map.hpp"
#include "filters/cache/state/block_table.hpp"
#include "filters/cache/state/fetches.hpp"
#include "filters/cache/state/pressure.hpp"
#include "filters/cache/state/schedule.hpp"
#include "filters/cache/state/settings.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

class Residents {
 public:
  using Removal = EvictionPolicy::Removal;

  // All that is passed outlives this, and is synchronized by the same owner.
  Residents(const CacheSettings& settings, const BlockGeometry& geometry, const PageGeometry& pages,
            CacheLog& log, Fetches& fetches, Pressure& pressure, const Schedule& schedule);

  // Once, before anything else.
  void take_over(const Recovered& recovered);

  // --- What is cached ---

  [[nodiscard]] Slot find(BlockNumber block) const { return table_.find(block); }
  [[nodiscard]] const BlockTable::Entry& operator[](Slot slot) const { return table_[slot]; }
  [[nodiscard]] Pages pages(Slot slot) const { return table_.pages(slot); }
  [[nodiscard]] bool is_attached(Slot slot) const { return table_[slot].is_attached(); }
  // Whether the block is cached in a slot whose content has not been looked at since recovery.
  [[nodiscard]] bool is_unverified(Slot slot) const {
    return slot != kNoSlot && table_[slot].unverified;
  }
  // Whether it has pages that the layer below does not have.
  [[nodiscard]] bool is_unwritten(Slot slot) const { return table_.unwritten().contains(slot); }
  // Slots' worth of storage in use.
  [[nodiscard]] std::size_t occupied() const { return table_.cached_blocks() + log_.extra_slots(); }
  [[nodiscard]] std::uint64_t cached_bytes() const { return bytes(table_.cached_blocks()); }
  [[nodiscard]] std::uint64_t capacity_bytes() const {
    return bytes(std::max<std::uint64_t>(1, table_.max_slots()));
  }
  // Slots of the blocks of a range, in no particular order.
  [[nodiscard]] std::vector<Slot> cached_in(const Range& range) const;
  [[nodiscard]] std::vector<Slot> in_eviction_order() const;

  // --- What the layer below does not have ---

  [[nodiscard]] bool has_unwritten() const {
    return table_.unwritten().size() > 0 || !zeros_.empty();
  }
  // In pages and ranges of zeros, and by whole blocks.
  [[nodiscard]] std::uint64_t unwritten_bytes() const;
  [[nodiscard]] std::uint64_t dirty_bytes() const { return bytes(table_.unwritten().size()); }
  // Of the blocks that the range touches, sorted.
  [[nodiscard]] std::vector<BlockNumber> unwritten_blocks(const Range& range) const;
  [[nodiscard]] std::vector<BlockNumber> overdue_blocks() const;
  using IsBusy = std::function<bool(BlockNumber)>;
  // Up to `count` that a write-back may take now: those evicted first, and those dirty for longest.
  [[nodiscard]] std::vector<BlockNumber> next_to_evict(std::size_t count,
                                                       const IsBusy& is_busy) const;
  [[nodiscard]] std::vector<BlockNumber> oldest_unwritten(std::size_t count,
                                                          const IsBusy& is_busy) const;
  // Nothing: there is no damaged block; or how many, and the first of them.
  [[nodiscard]] std::size_t damaged_blocks() const { return table_.damaged_blocks(); }
  [[nodiscard]] BlockNumber first_damaged() const;

  // --- Ranges of zeros: whole blocks, dirty, and whether trimming will do ---

  [[nodiscard]] const RunMap<bool>& zeros() const { return zeros_; }
  [[nodiscard]] bool is_zeros(BlockNumber block) const {
    return zeros_.find(geometry_.offset_of(block)).has_value();
  }
  // The ranges of them in `range`, sorted.
  [[nodiscard]] std::vector<Range> zeros_in(const Range& range) const;
  // In the place of what `cached`, the slots of the blocks, hold. Those on their way below keep them.
  void remember_zeros(const Range& blocks, bool may_trim, const std::vector<Slot>& cached);
  void zeros_are_below(const Range& range);
  [[nodiscard]] bool are_zeros_committed(const Range& range) const {
    return log_.zeros_committed(range);
  }

  // --- Slots ---

  // A slot for an absent block, from what is free or by dropping a clean block. Nothing: write back
  // first.
  [[nodiscard]] std::optional<Slot> take_slot(BlockNumber block);
  // A block out of a range of zeros gets a slot of its own: zeros without storage still.
  void adopt_zeros(Slot slot);
  [[nodiscard]] bool may_take_slot();  // whether take_slot() would find one
  // Whether waiting may help who finds nothing to evict and nothing to write back: damaged blocks
  // alone will not go by themselves.
  [[nodiscard]] bool room_may_come() const {
    return table_.pinned_slots() > 0 || table_.unwritten().size() > 0;
  }
  [[nodiscard]] bool is_empty() const { return table_.cached_blocks() == 0; }
  void pin(Slot slot) { table_.pin(slot); }
  void touch(Slot slot) { table_.touch(slot); }
  // A slot that was taken for a block of which nothing could be stored in the end is given up.
  void unpin(Slot slot);
  // The block is not cached any more, and a fetch of it is not stored. With its storage: that is
  // given back, as soon as to_discard() comes.
  void drop(Slot slot, Removal why = Removal::dropped, bool with_storage = false);
  // The same, and the slot is not used again while the disk is full: it has no storage.
  void retire(Slot slot);
  // Returns how many there were to evict.
  std::size_t evict(std::size_t count, bool with_storage = false);
  // Drops what is expired and clean, of the slots from `first` on, `count` of them. Returns whether
  // there are more.
  bool drop_expired(Slot first, Slot count);
  // Slots whose storage is to be given back now. A reader may still be copying from a dropped slot:
  // then its turn comes later. Each is used by nobody else before discarded().
  [[nodiscard]] std::vector<Slot> to_discard();
  void discarded(Slot slot);
  // The disk is full: slots are only reused. And it has taken what a tried slot holds.
  void stop_growing() { table_.stop_growing(); }
  void grow_again() { table_.grow_again(); }

  // --- Pages of a pinned slot that is attached ---

  void wrote(Slot slot, const WriteReceipt& stored, bool dirty);
  void zeroed(Slot slot, PageMask covered, const WriteReceipt& given_up, bool may_trim);
  // Damaged pages are below now.
  void cure(Slot slot, PageMask cured);
  // What is touched and clean is not valid any more; remember() takes that back. Returns these pages.
  PageMask forget_clean(Slot slot, PageMask touched);
  void remember(Slot slot, const Pages& before, PageMask again);
  void forgotten(Slot slot, const WriteReceipt& given_up) { log_.forgotten(slot, given_up); }

  void begin_verify(Slot slot);
  // Returns the pages there were, if what was stored is damaged: it is not valid any more. Unpins
  // nothing.
  std::optional<Pages> end_verify(Slot slot, bool looked, bool intact);

  // --- Write-back of a block ---

  struct Claim {
    Pages pages;              // as they were
    PageMask sent = 0;        // dirty and committed. None: nothing has been claimed
    bool is_changed = false;  // has pages that a client has changed since they were committed
  };
  // Takes what may go below; the slot is pinned, and its changes wait for end_copying().
  Claim begin_write_back(Slot slot);
  void end_copying(Slot slot) { table_[slot].copying = false; }
  // Still pinned.
  void end_write_back(Slot slot, PageMask sent, PageMask failed);

 private:
  [[nodiscard]] std::uint64_t bytes(std::uint64_t blocks) const {
    return blocks * settings_.block_size;
  }
  [[nodiscard]] bool has_free_slot();
  [[nodiscard]] bool may_evict(Slot slot) const;
  [[nodiscard]] Slot next_victim();
  // The slot belongs to no block, or a pin has gone: its storage is nobody's when both are so.
  void note_vacated(Slot slot);
  // All that the block has.
  [[nodiscard]] PageMask pages_of(Slot slot) const;
  // Notes when a block becomes dirty.
  void set_pages(Slot slot, const Pages& pages);

  const CacheSettings& settings_;
  const BlockGeometry& geometry_;
  const PageGeometry& pages_;
  CacheLog& log_;
  Fetches& fetches_;
  Pressure& pressure_;
  const Schedule& schedule_;
  BlockTable table_;
  RunMap<bool> zeros_;
  std::vector<Slot> to_discard_;  // pinned; dropped while there were too many slots
};

}  // namespace nbdstack
