#include "filters/cache/store/durable/index.hpp"

#include <algorithm>

#include "filters/cache/store/durable/page_files.hpp"

namespace nbdstack {

void lose_stored(SlotIndex::Entry& entry) {
  entry.pages.valid &= entry.pages.zero;
  entry.copies = 0;
  entry.checksum = 0;
}

void SlotIndex::add(Slot slot, const Entry& entry) {
  if (slot >= entries_.size()) entries_.resize(slot + std::size_t{1});
  entries_[slot] = entry;
  snapshot_order_.push_back(slot);
}

SlotIndex::Entry& SlotIndex::claim(Slot slot, BlockNumber block, std::uint64_t sequence) {
  if (slot >= entries_.size()) entries_.resize(slot + std::size_t{1});
  Entry& entry = entries_[slot];
  if (!entry.in_use || entry.block != block) entry = {.block = block, .in_use = true};
  entry.named_at = sequence;
  if (!zeros_.empty()) zeros_.erase(geometry_.range_of(block));
  return entry;
}

void SlotIndex::take_out(Entry& entry, PageMask pages, const std::vector<std::uint64_t>& old) {
  std::size_t position = 0;
  for_each_page_run(pages, [&](unsigned first, unsigned count) {
    for (unsigned page = first; page < first + count; ++page, ++position) {
      if (position < old.size() && entry.is_stored(page)) entry.checksum ^= old[position];
    }
  });
}

void SlotIndex::wrote(const Record& record) {
  Entry& entry = claim(record.slot, {record.first}, record.sequence);
  const PageMask pages = record.second;
  take_out(entry, pages, record.old_checksums);
  entry.checksum ^= combined(record.new_checksums);
  entry.copies = (entry.copies & ~pages) | record.copies;
  entry.pages.valid |= pages;
  entry.pages.dirty = record.flag ? entry.pages.dirty | pages : entry.pages.dirty & ~pages;
  entry.pages.zero &= ~pages;
  entry.pages.hole &= ~pages;
}

void SlotIndex::zeroed(const Record& record) {
  Entry& entry = claim(record.slot, {record.first}, record.sequence);
  const PageMask pages = record.second;
  take_out(entry, pages, record.old_checksums);
  entry.pages.valid |= pages;
  entry.pages.dirty |= pages;
  entry.pages.zero |= pages;
  entry.pages.hole = record.flag ? entry.pages.hole | pages : entry.pages.hole & ~pages;
  if (entry.pages.stored() == 0) entry.checksum = 0;
}

void SlotIndex::apply(const Record& record) {
  using Kind = Record::Kind;
  switch (record.kind) {
    case Kind::wrote:
      return wrote(record);
    case Kind::zeroed:
      return zeroed(record);
    case Kind::zeros_added:
      return zeros_.assign({record.first, record.second}, record.flag);
    case Kind::zeros_removed:
      return zeros_.erase({record.first, record.second});
    case Kind::commit:
      return;
    case Kind::rewrote:
    case Kind::forgotten:
    case Kind::cleaned:
    case Kind::dropped:
    case Kind::damaged:
      if (record.slot < entries_.size() && entries_[record.slot].in_use) {
        apply_to(entries_[record.slot], record);
      }
  }
}

void SlotIndex::apply_to(Entry& entry, const Record& record) {
  using Kind = Record::Kind;
  const PageMask pages = record.second;
  switch (record.kind) {
    case Kind::rewrote:
      take_out(entry, pages, record.old_checksums);
      entry.checksum ^= combined(record.new_checksums);
      break;
    case Kind::forgotten:
      take_out(entry, pages, record.old_checksums);
      entry.pages = {.valid = entry.pages.valid & ~pages,
                     .dirty = entry.pages.dirty & ~pages,
                     .zero = entry.pages.zero & ~pages,
                     .hole = entry.pages.hole & ~pages};
      break;
    case Kind::cleaned:
      entry.pages.dirty &= ~pages;
      entry.pages.hole &= ~pages;
      break;
    case Kind::dropped:
      entry = {};
      break;
    case Kind::damaged:
      lose_stored(entry);
      break;
    case Kind::wrote:
    case Kind::zeroed:
    case Kind::zeros_added:
    case Kind::zeros_removed:
    case Kind::commit:
      break;  // of no slot that is there already
  }
}

void SlotIndex::settle() {
  for (Entry& entry : entries_) {
    if (!entry.in_use) continue;
    const bool is_zero =
        !zeros_.empty() && zeros_.find(geometry_.offset_of(entry.block)).has_value();
    if (is_zero || (entry.pages.valid | entry.pages.dirty) == 0) entry = {};
  }
}

void SlotIndex::clear() {
  entries_.clear();
  snapshot_order_.clear();
  zeros_.clear();
}

std::vector<Slot> SlotIndex::order() const {
  std::vector<Slot> order;
  for (const Slot slot : snapshot_order_) {
    if (entries_[slot].in_use && entries_[slot].named_at == 0) order.push_back(slot);
  }
  const auto named = static_cast<std::ptrdiff_t>(order.size());
  for (Slot slot = 0; slot < slots(); ++slot) {
    if (entries_[slot].in_use && entries_[slot].named_at != 0) order.push_back(slot);
  }
  std::sort(order.begin() + named, order.end(),
            [this](Slot a, Slot b) { return entries_[a].named_at < entries_[b].named_at; });
  return order;
}

}  // namespace nbdstack
