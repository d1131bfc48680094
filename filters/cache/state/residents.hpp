// Externally synchronized: the cached blocks, with their slots and pages, and the ranges remembered
// as zeros. Every step of a slot's life is made here, so that the table (block_table.hpp), the
// store's log (CacheLog), the fetches and the zeros never disagree.
//
// Between any two calls:
//  - A block is in the table, or in a range of zeros, or not cached; never in both.
//  - When a block leaves the table, its fetch becomes obsolete, so that no fill stores older
//    content.
//  - Nothing dirty, pinned or being written below is evicted.
//  - The store's log has the same state of each slot as the table.
//
// This does no file I/O: the owner reads and writes content, and pins the slot meanwhile.
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

  // All arguments outlive this, and the same owner synchronizes them.
  Residents(const CacheSettings& settings, const BlockGeometry& geometry, const PageGeometry& pages,
            CacheLog& log, Fetches& fetches, Pressure& pressure, const Schedule& schedule);

  // Called once, before anything else.
  void take_over(const Recovered& recovered);

  // --- Cached blocks ---

  [[nodiscard]] Slot find(BlockNumber block) const { return table_.find(block); }
  [[nodiscard]] const BlockTable::Entry& operator[](Slot slot) const { return table_[slot]; }
  [[nodiscard]] Pages pages(Slot slot) const { return table_.pages(slot); }
  [[nodiscard]] bool is_attached(Slot slot) const { return table_[slot].is_attached(); }
  // Returns whether the block is cached in a slot whose content is not verified since recovery.
  [[nodiscard]] bool is_unverified(Slot slot) const {
    return slot != kNoSlot && table_[slot].unverified;
  }
  // Returns whether it has pages that the layer below does not have.
  [[nodiscard]] bool is_unwritten(Slot slot) const { return table_.unwritten().contains(slot); }
  // Returns the storage in use, in slots.
  [[nodiscard]] std::size_t occupied() const { return table_.cached_blocks() + log_.extra_slots(); }
  // Returns the number of blocks that have made room for others so far.
  [[nodiscard]] std::uint64_t evictions() const { return evictions_; }
  [[nodiscard]] std::uint64_t cached_bytes() const { return bytes(table_.cached_blocks()); }
  [[nodiscard]] std::uint64_t capacity_bytes() const {
    return bytes(std::max<std::uint64_t>(1, table_.max_slots()));
  }
  // Returns the slots of the blocks of a range, in no particular order.
  [[nodiscard]] std::vector<Slot> cached_in(const Range& range) const;
  [[nodiscard]] std::vector<Slot> in_eviction_order() const;

  // --- Content that the layer below does not have ---

  [[nodiscard]] bool has_unwritten() const {
    return table_.unwritten().size() > 0 || !zeros_.empty();
  }
  // Return the size in pages and ranges of zeros, and in whole blocks.
  [[nodiscard]] std::uint64_t unwritten_bytes() const;
  [[nodiscard]] std::uint64_t dirty_bytes() const { return bytes(table_.unwritten().size()); }
  // Returns those of the blocks that the range touches, sorted.
  [[nodiscard]] std::vector<BlockNumber> unwritten_blocks(const Range& range) const;
  [[nodiscard]] std::vector<BlockNumber> overdue_blocks() const;
  // Returns when the longest dirty block became dirty; nothing if there is none.
  [[nodiscard]] std::optional<TimePoint> oldest_unwritten_since() const;
  using IsBusy = std::function<bool(BlockNumber)>;
  // Return up to `count` blocks that may be written back: first to be evicted, or longest dirty.
  [[nodiscard]] std::vector<BlockNumber> next_to_evict(std::size_t count,
                                                       const IsBusy& is_busy) const;
  [[nodiscard]] std::vector<BlockNumber> oldest_unwritten(std::size_t count,
                                                          const IsBusy& is_busy) const;
  // Return the number of damaged blocks, and the first of them if there is one.
  [[nodiscard]] std::size_t damaged_blocks() const { return table_.damaged_blocks(); }
  [[nodiscard]] BlockNumber first_damaged() const;

  // --- Ranges of zeros: whole blocks, dirty, and whether they may be trimmed instead ---

  [[nodiscard]] const RunMap<bool>& zeros() const { return zeros_; }
  [[nodiscard]] bool is_zeros(BlockNumber block) const {
    return zeros_.find(geometry_.offset_of(block)).has_value();
  }
  // Returns the ranges of zeros in `range`, sorted.
  [[nodiscard]] std::vector<Range> zeros_in(const Range& range) const;
  // Replaces the content of `cached`, the slots of the blocks, except of those being written below.
  void remember_zeros(const Range& blocks, bool may_trim, const std::vector<Slot>& cached);
  void zeros_are_below(const Range& range);
  [[nodiscard]] bool are_zeros_committed(const Range& range) const {
    return log_.zeros_committed(range);
  }

  // --- Slots ---

  // Takes a slot for an absent block, a free one or by dropping a clean block. Returns nothing if
  // something must be written back first.
  [[nodiscard]] std::optional<Slot> take_slot(BlockNumber block);
  // Moves a block from a range of zeros to a slot of its own: still zeros without storage.
  void adopt_zeros(Slot slot);
  [[nodiscard]] bool may_take_slot();  // whether take_slot() would find one
  // If nothing can be evicted or written back: returns whether waiting may help. Damaged blocks do
  // not leave by themselves.
  [[nodiscard]] bool room_may_come() const {
    return table_.pinned_slots() > 0 || table_.unwritten().size() > 0;
  }
  [[nodiscard]] bool is_empty() const { return table_.cached_blocks() == 0; }
  void pin(Slot slot) { table_.pin(slot); }
  void touch(Slot slot) { table_.touch(slot); }
  // Drops a slot that was taken for a block if nothing could be stored in it.
  void unpin(Slot slot);
  // Removes the block from the cache; a fetch of it is not stored. With `with_storage`, its storage
  // is given back at the next to_discard().
  void drop(Slot slot, Removal why = Removal::dropped, bool with_storage = false);
  // Like drop(), but the slot is not reused while the disk is full: it has no storage.
  void retire(Slot slot);
  // Returns the number of blocks that could be evicted.
  std::size_t evict(std::size_t count, bool with_storage = false);
  // Drops expired clean blocks in `count` slots from `first` on. Returns whether there are more.
  bool drop_expired(Slot first, Slot count);
  // Returns slots whose storage is to be given back now. A reader may still be copying from a
  // dropped slot: then it is returned later. No block gets such a slot before discarded().
  [[nodiscard]] std::vector<Slot> to_discard();
  void discarded(Slot slot);
  // Slots are only reused while the disk is full, and until it has stored a tried slot.
  void stop_growing() { table_.stop_growing(); }
  void grow_again() { table_.grow_again(); }

  // --- Pages of a pinned slot that is attached ---

  void wrote(Slot slot, const WriteReceipt& stored, bool dirty);
  void zeroed(Slot slot, PageMask covered, const WriteReceipt& given_up, bool may_trim);
  // Called when damaged pages are below.
  void cure(Slot slot, PageMask cured);
  // Invalidates the touched clean pages and returns them; remember() undoes that.
  PageMask forget_clean(Slot slot, PageMask touched);
  void remember(Slot slot, const Pages& before, PageMask again);
  void forgotten(Slot slot, const WriteReceipt& given_up) { log_.forgotten(slot, given_up); }

  void begin_verify(Slot slot);
  // Returns the former pages if the stored content is damaged, and so invalid now. Does not unpin.
  std::optional<Pages> end_verify(Slot slot, bool looked, bool intact);

  // --- Write-back of a block ---

  struct Claim {
    Pages pages;              // as they were
    PageMask sent = 0;        // dirty and committed; nothing is claimed if there are none
    bool is_changed = false;  // has pages that a client has changed since they were committed
  };
  // Claims pages to be written below; the slot is pinned, and its changes wait for end_copying().
  Claim begin_write_back(Slot slot);
  void end_copying(Slot slot) { table_[slot].copying = false; }
  // The slot is still pinned.
  void end_write_back(Slot slot, PageMask sent, PageMask failed);

 private:
  [[nodiscard]] std::uint64_t bytes(std::uint64_t blocks) const {
    return blocks * settings_.block_size;
  }
  [[nodiscard]] bool has_free_slot();
  [[nodiscard]] bool may_evict(Slot slot) const;
  [[nodiscard]] Slot next_victim();
  // Called when a block leaves the slot, or a pin ends: the storage is unused after both.
  void note_vacated(Slot slot);
  // Returns all pages of the block.
  [[nodiscard]] PageMask pages_of(Slot slot) const;
  // Notes the time when a block becomes dirty.
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
  std::uint64_t evictions_ = 0;
  std::vector<Slot> to_discard_;  // pinned; dropped while there were too many slots
};

}  // namespace nbdstack
