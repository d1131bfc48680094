// The index of a cache directory in memory, built from snapshot and journal. It exists during
// recovery, and while a snapshot is made of a snapshot and the journals after it. In between the
// engine's table is the index, and the store keeps a few bytes for each slot (durable_store.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "common/block/range.hpp"
#include "common/block/run_map.hpp"
#include "filters/cache/slots/page_mask.hpp"
#include "filters/cache/slots/slot_list.hpp"
#include "filters/cache/store/durable/record.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

class SlotIndex {
 public:
  struct Entry {
    BlockNumber block;
    Pages pages;
    PageMask copies = 0;         // of stored pages: those that lie in data2
    std::uint64_t checksum = 0;  // of stored pages
    std::uint64_t named_at = 0;  // the last record about its content; 0 if that is the snapshot
    bool in_use = false;

    [[nodiscard]] bool is_stored(unsigned page) const { return has_page(pages.stored(), page); }
  };

  explicit SlotIndex(const BlockGeometry& geometry)
      : geometry_(geometry), pages_(geometry.block_size()) {}

  [[nodiscard]] const BlockGeometry& geometry() const { return geometry_; }
  [[nodiscard]] const PageGeometry& page_geometry() const { return pages_; }
  // One more than the highest slot that was ever named.
  [[nodiscard]] Slot slots() const { return static_cast<Slot>(entries_.size()); }
  [[nodiscard]] Entry& operator[](Slot slot) { return entries_[slot]; }
  [[nodiscard]] const Entry& operator[](Slot slot) const { return entries_[slot]; }
  [[nodiscard]] const RunMap<bool>& zeros() const { return zeros_; }

  // Slots from `end` on, which would cost memory for all slots before them, cannot belong to this
  // cache: a reader of a file has to refuse them. Initially only kNoSlot is impossible.
  void expect_slots_below(Slot end) { slots_end_ = end; }
  [[nodiscard]] bool is_possible(Slot slot) const { return slot < slots_end_; }

  // From a snapshot.
  void add(Slot slot, const Entry& entry);
  void add_zeros(const Range& range, bool may_trim) { zeros_.assign(range, may_trim); }

  // Returns the entry that a record is about, after preparing it: the slot belongs to the block,
  // and the block is in no range of zeros.
  Entry& claim(Slot slot, BlockNumber block, std::uint64_t sequence);
  // Removes the old checksums of stored pages from the entry's checksum.
  static void take_out(Entry& entry, PageMask pages, const record::Checksums& old);
  // Applies a record whose content is known to fit.
  void apply(const Record& record);

  // After replay a block may have both a slot and a range of zeros. The range wins: a later record
  // for the slot would have removed the block from the range. Slots without pages are removed.
  void settle();
  void clear();
  // Returns the slots in use, least recently used first: the snapshot's order, then the journal's.
  [[nodiscard]] std::vector<Slot> order() const;

 private:
  void apply(const record::Wrote& wrote, std::uint64_t sequence);
  void apply(const record::Rewrote& rewrote, std::uint64_t sequence);
  void apply(const record::Zeroed& zeroed, std::uint64_t sequence);
  void apply(const record::Forgotten& forgotten, std::uint64_t sequence);
  void apply(const record::Cleaned& cleaned, std::uint64_t sequence);
  void apply(const record::Dropped& dropped, std::uint64_t /*sequence*/) {
    if (Entry* const entry = in_use(dropped.slot)) *entry = {};
  }
  void apply(const record::Damaged& damaged, std::uint64_t sequence);
  void apply(const record::ZerosAdded& zeros, std::uint64_t /*sequence*/) {
    zeros_.assign(zeros.range, zeros.may_trim);
  }
  void apply(const record::ZerosRemoved& zeros, std::uint64_t /*sequence*/) {
    zeros_.erase(zeros.range);
  }
  void apply(const record::Commit& /*commit*/, std::uint64_t /*sequence*/) {}
  // Returns null if the slot is not in use.
  [[nodiscard]] Entry* in_use(Slot slot) {
    return slot < entries_.size() && entries_[slot].in_use ? &entries_[slot] : nullptr;
  }

  BlockGeometry geometry_;
  PageGeometry pages_;
  Slot slots_end_ = kNoSlot;
  std::vector<Entry> entries_;
  std::vector<Slot> snapshot_order_;
  RunMap<bool> zeros_;
};

// Applies a record `damaged` to the pages of a block: stored pages are lost, and those of them that
// were dirty are noted as damaged.
void lose_stored(SlotIndex::Entry& entry);

}  // namespace nbdstack
