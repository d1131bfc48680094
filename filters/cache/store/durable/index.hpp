// The index of a cache directory in memory: what snapshot and journal say. It exists while it is
// recovered, and while a snapshot is made of a snapshot and the journals after it; in between the
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
    std::uint64_t named_at = 0;  // the last record that spoke of its content; 0: the snapshot
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

  // Slots from `end` on, which would cost memory for all those before them, are none of this cache:
  // whoever reads of one in a file has to refuse it. In the beginning none but kNoSlot is.
  void expect_slots_below(Slot end) { slots_end_ = end; }
  [[nodiscard]] bool is_possible(Slot slot) const { return slot < slots_end_; }

  // From a snapshot.
  void add(Slot slot, const Entry& entry);
  void add_zeros(const Range& range, bool may_trim) { zeros_.assign(range, may_trim); }

  // The entry that a record of these speaks of, made ready for it: the slot is the block's now, and
  // the block in no range of zeros.
  Entry& claim(Slot slot, BlockNumber block, std::uint64_t sequence);
  // Takes the old checksums of pages that are stored out of the entry's.
  static void take_out(Entry& entry, PageMask pages, const record::Checksums& old);
  // A record whose content is as it says.
  void apply(const Record& record);

  // Of a slot and a range that speak of one block the range is what counts, because a later word
  // about the slot would have taken the block out of the range. Slots without pages go.
  void settle();
  void clear();
  // In use, least recently used first: as in the snapshot, then as the journal names them.
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
  // Null: the slot is in no use.
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

// What damaged() means for the pages of a block: stored ones are gone, and those of them that were
// dirty are missed.
void lose_stored(SlotIndex::Entry& entry);

}  // namespace nbdstack
