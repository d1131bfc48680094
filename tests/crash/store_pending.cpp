// StoreWorkload: changes between write() and wrote().
#include <algorithm>
#include <bit>
#include <utility>

#include "tests/crash/store_workload.hpp"

namespace nbdstack::testing {

// Whole pages, or some sectors of one page that is stored.
void StoreWorkload::begin_store(Slot slot, unsigned first, const std::vector<PageContent>& contents,
                                bool dirty) {
  const Block before = view_.slots.at(slot);
  const std::uint64_t first_page = before.number.value * kPagesPerBlock + first;
  std::vector<std::byte> bytes(contents.size() * kPage_bytes);
  for (std::size_t i = 0; i < contents.size(); ++i) {
    fill(std::span(bytes).subspan(i * kPage_bytes, kPage_bytes), first_page + i, contents[i]);
  }
  std::size_t begin = 0;
  std::size_t end = bytes.size();
  if (contents.size() == 1 && ((before.pages.stored() >> first) & 1U) != 0) {
    // Only what differs.
    std::array<std::byte, kPage_bytes> old{};
    store_->read(slot, old, first * static_cast<std::uint32_t>(kPage_bytes));
    while (begin + kSector_bytes < end &&
           std::memcmp(&old[begin], &bytes[begin], kSector_bytes) == 0) {
      begin += kSector_bytes;
    }
    while (end > begin + kSector_bytes &&
           std::memcmp(&old[end - kSector_bytes], &bytes[end - kSector_bytes], kSector_bytes) ==
               0) {
      end -= kSector_bytes;
    }
  }
  pending_.push_back({slot, before.number, first, contents, dirty, {}});
  note_changed(slot);
  WriteReceipt stored =
      store_->write(slot, std::span(bytes).subspan(begin, end - begin),
                    static_cast<std::uint32_t>(first * kPage_bytes + begin), before.pages.stored());
  pending_.back().stored = std::move(stored);
}

// Where the slot is no longer the block's, the change is given up: nobody was told of it.
void StoreWorkload::end_store(std::size_t number) {
  const Pending ended = std::move(pending_[number]);
  pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(number));
  if (!view_.slots.contains(ended.slot)) {
    if (is_pinned(ended.slot)) return;
    store_->vacated(ended.slot);
    free_.push_back(ended.slot);
    return;
  }
  note_changed(ended.slot);
  store_->wrote(ended.slot, ended.block, ended.stored, ended.dirty);
  const std::uint64_t first_page = ended.block.value * kPagesPerBlock + ended.first;
  for (std::size_t i = 0; i < ended.contents.size() && ended.dirty; ++i) {
    history_.changed(first_page + i, ended.contents[i]);
  }
  Pages& pages = view_.slots.at(ended.slot).pages;
  const PageMask mask = ended.stored.pages;
  pages.valid |= mask;
  pages.dirty = ended.dirty ? pages.dirty | mask : pages.dirty & ~mask;
  pages.zero &= ~mask;
  pages.hole &= ~mask;
}

PageMask StoreWorkload::pending_pages(std::uint64_t block) const {
  PageMask pages = 0;
  for (const Pending& pending : pending_) {
    if (pending.block.value != block) continue;
    pages |= page_run(pending.first, static_cast<unsigned>(pending.contents.size()));
  }
  return pages;
}

bool StoreWorkload::is_pinned(Slot slot) const {
  return std::any_of(pending_.begin(), pending_.end(),
                     [&](const Pending& pending) { return pending.slot == slot; });
}

bool StoreWorkload::is_pending(std::uint64_t page, std::span<const std::byte> bytes) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](const Pending& pending) {
    const std::uint64_t first = pending.block.value * kPagesPerBlock + pending.first;
    return page >= first && page < first + pending.contents.size() &&
           holds(bytes, page, pending.contents[page - first]);
  });
}

// As a write-back finds it.
PageContent StoreWorkload::content_of(Slot slot, unsigned page) {
  const Pages& pages = view_.slots.at(slot).pages;
  PageContent content{};
  if (((pages.zero >> page) & 1U) != 0) return content;
  std::array<std::byte, kPage_bytes> bytes{};
  store_->read(slot, bytes, page * static_cast<std::uint32_t>(kPage_bytes));
  for (std::size_t sector = 0; sector < kSectors; ++sector) {
    std::uint64_t word = 0;
    std::memcpy(&word, &bytes[sector * kSector_bytes], sizeof word);
    content[sector] = word >> 32U;
  }
  return content;
}

}  // namespace nbdstack::testing
