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

void SlotIndex::take_out(Entry& entry, PageMask pages, const record::Checksums& old) {
  for_each_page(pages, [&](unsigned page, std::size_t position) {
    if (position < old.size() && entry.is_stored(page)) entry.checksum ^= old[position];
  });
}

void SlotIndex::apply(const Record& record) {
  std::visit([&](const auto& event) { apply(event, record.sequence); }, record.event);
}

void SlotIndex::apply(const record::Wrote& wrote, std::uint64_t sequence) {
  Entry& entry = claim(wrote.slot, wrote.block, sequence);
  take_out(entry, wrote.pages, wrote.old);
  entry.checksum ^= combined(wrote.now);
  entry.copies = (entry.copies & ~wrote.pages) | wrote.copies;
  entry.pages.valid |= wrote.pages;
  entry.pages.dirty =
      wrote.dirty ? entry.pages.dirty | wrote.pages : entry.pages.dirty & ~wrote.pages;
  entry.pages.zero &= ~wrote.pages;
  entry.pages.hole &= ~wrote.pages;
}

void SlotIndex::apply(const record::Zeroed& zeroed, std::uint64_t sequence) {
  Entry& entry = claim(zeroed.slot, zeroed.block, sequence);
  take_out(entry, zeroed.pages, zeroed.old);
  entry.pages.valid |= zeroed.pages;
  entry.pages.dirty |= zeroed.pages;
  entry.pages.zero |= zeroed.pages;
  entry.pages.hole =
      zeroed.may_trim ? entry.pages.hole | zeroed.pages : entry.pages.hole & ~zeroed.pages;
  if (entry.pages.stored() == 0) entry.checksum = 0;
}

void SlotIndex::apply(const record::Rewrote& rewrote, std::uint64_t /*sequence*/) {
  Entry* const entry = in_use(rewrote.slot);
  if (entry == nullptr) return;
  take_out(*entry, rewrote.pages, rewrote.old);
  entry->checksum ^= combined(rewrote.now);
}

void SlotIndex::apply(const record::Forgotten& forgotten, std::uint64_t /*sequence*/) {
  Entry* const entry = in_use(forgotten.slot);
  if (entry == nullptr) return;
  take_out(*entry, forgotten.pages, forgotten.old);
  entry->pages = {.valid = entry->pages.valid & ~forgotten.pages,
                  .dirty = entry->pages.dirty & ~forgotten.pages,
                  .zero = entry->pages.zero & ~forgotten.pages,
                  .hole = entry->pages.hole & ~forgotten.pages};
}

void SlotIndex::apply(const record::Cleaned& cleaned, std::uint64_t /*sequence*/) {
  if (Entry* const entry = in_use(cleaned.slot)) {
    entry->pages.dirty &= ~cleaned.pages;
    entry->pages.hole &= ~cleaned.pages;
  }
}

void SlotIndex::apply(const record::Damaged& damaged, std::uint64_t /*sequence*/) {
  if (Entry* const entry = in_use(damaged.slot)) lose_stored(*entry);
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
