#include "tests/crash/store_workload.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "common/error.hpp"
#include "tests/unit/fakes/seeded_cipher.hpp"

namespace nbdstack::testing {
namespace {

constexpr std::uint64_t kShortestJournal_bytes = 3000;

PageMask bit(unsigned page) {
  return PageMask{1} << page;
}

}  // namespace

unsigned StoreWorkload::pages_of(std::uint64_t block) {
  return static_cast<unsigned>(
      std::min<std::uint64_t>(kPagesPerBlock, kPages - block * kPagesPerBlock));
}

Range StoreWorkload::range_of(std::uint64_t block) {
  return {block * kBlock_bytes, std::uint64_t{pages_of(block)} * kPage_bytes};
}

std::unique_ptr<DurableStore> StoreWorkload::store_on(const SimulatedDisk& disk) const {
  auto store = std::make_unique<DurableStore>(disk.directory(), kBlock_bytes, kPages * kPage_bytes,
                                              Damaged::refuse, cipher_);
  store->set_shortest_journal_bytes(kShortestJournal_bytes);
  return store;
}

StoreWorkload::StoreWorkload(std::uint64_t seed)
    : random_(seed), cipher_(seeded_cipher(seed)), history_(kPages), below_(kPages) {
  for (std::uint64_t page = 0; page < kPages; ++page) {
    below_[page].fill(++stamp_);
    history_.reset(page, below_[page]);
  }
  store_ = store_on(disk_);
  start(store_->recover());
}

StoreWorkload::~StoreWorkload() {
  disk_.set_hook({});
}

void StoreWorkload::start(Recovered recovered) {
  view_ = {};
  free_.clear();
  write_backs_.clear();
  pending_.clear();
  changed_.clear();
  for (const RecoveredBlock& block : recovered.blocks) {
    view_.slots[block.slot] = {block.block, block.pages};
  }
  for (const RecoveredZeros& zeros : recovered.zeros) {
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      if (zeros.range.contains(range_of(block))) view_.zeros.insert(block);
    }
  }
  for (Slot slot = 0; slot < kSlots; ++slot) {
    if (!view_.slots.contains(slot)) free_.push_back(slot);
  }
  disk_.set_hook([this](const SimulatedDisk::Operation& operation) { on_operation(operation); });
}

void StoreWorkload::run(std::size_t crash_points) {
  enough_ = crash_points_ + crash_points;
  while (crash_points_ < enough_ && fault_.empty()) {
    try {
      step();
    } catch (const Error& error) {
      fail(fmt::format("an operation failed: {}", error.what()));
    }
  }
}

void StoreWorkload::step() {
  if (!pending_.empty() && pick(3) == 0) return end_store(pick(pending_.size()));
  const std::uint64_t block = pick(kBlocks);
  const std::uint64_t choice = pick(100);
  if (choice < 30) return write(block);
  if (choice < 38) return load(block);
  if (choice < 46) return zero_pages(block);
  if (choice < 50) return zero_blocks(block, 1 + pick(std::min<std::uint64_t>(3, kBlocks - block)));
  if (choice < 58) return begin_write_back(block);
  if (choice < 66) return end_write_back();
  if (choice < 69) return zero_below(block);
  if (choice < 73) return pass_by(block);
  if (choice < 74) return trim_around(block);
  if (choice < 84) return publish();
  if (choice < 96) return commit();
  if (choice < 97) return restart();
  if (choice < 98) return crash_and_restart();
  if (const Slot slot = find(block); slot != kNoSlot) evict(slot);
}

// Nothing that would have to wait for the commit.
void StoreWorkload::step_beside_commit() {
  const std::uint64_t block = pick(kBlocks);
  if (find(block) == kNoSlot && view_.zeros.contains(block)) return;
  if (!pending_.empty() && pick(3) == 0) return end_store(pick(pending_.size()));
  switch (pick(6)) {
    case 0:
    case 1:
      return write(block);
    case 2:
      return load(block);
    case 3:
      return zero_pages(block);
    case 4:
      return end_write_back();
    default:
      return zero_blocks(block, 1);
  }
}

// --- The engine's part ---

Slot StoreWorkload::find(std::uint64_t block) const {
  for (const auto& [slot, cached] : view_.slots) {
    if (cached.number.value == block) return slot;
  }
  return kNoSlot;
}

bool StoreWorkload::is_writing(Slot slot) const {
  return std::any_of(write_backs_.begin(), write_backs_.end(),
                     [&](const WriteBack& write_back) { return write_back.slot == slot; });
}

// During a commit a change of what it commits waits for it: this one thread cannot.
bool StoreWorkload::may_change(Slot slot) const {
  return !in_commit_ || !committing_.contains(slot);
}

void StoreWorkload::drop(Slot slot) {
  note_changed(slot);
  store_->dropped(slot);
  view_.slots.erase(slot);
  if (is_pinned(slot)) return;
  store_->vacated(slot);
  free_.push_back(slot);
}

void StoreWorkload::evict(Slot slot) {
  if (view_.slots.at(slot).pages.dirty == 0 && !is_writing(slot) && !is_pinned(slot) &&
      store_->may_reuse(slot)) {
    drop(slot);
  }
}

Slot StoreWorkload::claim(std::uint64_t block) {
  if (const Slot slot = find(block); slot != kNoSlot) return may_change(slot) ? slot : kNoSlot;
  if (free_.empty()) {
    const auto victims = view_.slots;
    for (const auto& [slot, cached] : victims) {
      if (free_.empty()) evict(slot);
    }
  }
  const auto usable =
      std::find_if(free_.begin(), free_.end(), [this](Slot slot) { return may_change(slot); });
  if (usable == free_.end()) return kNoSlot;
  const Slot slot = *usable;
  free_.erase(usable);
  view_.slots[slot] = {{block}, {}};
  store_->taken(slot);
  if (view_.zeros.contains(block)) {
    const PageMask all = page_run(0, pages_of(block));
    note_changed(slot);
    store_->zeroed(slot, {block}, {.pages = all}, false);
    store_->zeros_removed(range_of(block));
    view_.zeros.erase(block);
    view_.slots[slot].pages = {.valid = all, .dirty = all, .zero = all, .hole = 0};
  }
  return slot;
}

void StoreWorkload::store_pages(Slot slot, unsigned first, const std::vector<PageContent>& contents,
                                bool dirty) {
  begin_store(slot, first, contents, dirty);
  constexpr std::size_t kMostPending = 4;
  if (pick(3) != 0 || pending_.size() > kMostPending) end_store(pending_.size() - 1);
}

void StoreWorkload::write(std::uint64_t block) {
  const Slot slot = claim(block);
  if (slot == kNoSlot) return;
  const unsigned first = static_cast<unsigned>(pick(pages_of(block)));
  const auto count = 1 + static_cast<unsigned>(pick(pages_of(block) - first));
  if ((pending_pages(block) & page_run(first, count)) != 0) return;
  std::vector<PageContent> contents;
  for (unsigned page = first; page < first + count; ++page) {
    PageContent content = history_.latest(block * kPagesPerBlock + page);
    const std::size_t begin = pick(2) == 0 ? 0 : pick(kSectors);
    const std::uint64_t stamp = ++stamp_;
    for (std::size_t sector = begin; sector < kSectors; ++sector) content[sector] = stamp;
    contents.push_back(content);
  }
  store_pages(slot, first, contents, true);
}

void StoreWorkload::load(std::uint64_t block) {
  if (view_.zeros.contains(block)) return;
  const Slot slot = claim(block);
  if (slot == kNoSlot) return;
  const PageMask missing = page_run(0, pages_of(block)) & ~view_.slots.at(slot).pages.valid;
  if (missing == 0 || pending_pages(block) != 0) return;
  const auto first = static_cast<unsigned>(std::countr_zero(missing));
  const auto count = static_cast<unsigned>(std::countr_one(missing >> first));
  const auto begin = below_.begin() + static_cast<std::ptrdiff_t>(block * kPagesPerBlock + first);
  store_pages(slot, first, std::vector<PageContent>(begin, begin + count), false);
}

void StoreWorkload::zero_pages(std::uint64_t block) {
  const Slot slot = claim(block);
  if (slot == kNoSlot) return;
  const unsigned first = static_cast<unsigned>(pick(pages_of(block)));
  const PageMask mask = page_run(first, 1 + static_cast<unsigned>(pick(pages_of(block) - first)));
  if ((pending_pages(block) & mask) != 0) return;
  const WriteReceipt given_up = store_->forget(slot, mask, view_.slots.at(slot).pages.stored());
  note_changed(slot);
  store_->zeroed(slot, {block}, given_up, false);
  for (unsigned page = 0; page < pages_of(block); ++page) {
    if ((mask & bit(page)) != 0) history_.changed(block * kPagesPerBlock + page, {});
  }
  Pages& pages = view_.slots.at(slot).pages;
  pages.valid |= mask;
  pages.dirty |= mask;
  pages.zero |= mask;
}

void StoreWorkload::zero_blocks(std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t block = first; block < first + count; ++block) {
    const Slot slot = find(block);
    if ((slot != kNoSlot && is_writing(slot)) || pending_pages(block) != 0) return;
  }
  const Range last = range_of(first + count - 1);
  const std::uint64_t begin = first * kBlock_bytes;
  store_->zeros_added({begin, last.end() - begin}, false);
  for (std::uint64_t block = first; block < first + count; ++block) {
    view_.zeros.insert(block);
    if (const Slot slot = find(block); slot != kNoSlot) drop(slot);
    for (unsigned page = 0; page < pages_of(block); ++page) {
      history_.changed(block * kPagesPerBlock + page, {});
    }
  }
}

void StoreWorkload::begin_write_back(std::uint64_t block) {
  const Slot slot = find(block);
  if (slot == kNoSlot || is_writing(slot)) return;
  Pages& pages = view_.slots.at(slot).pages;
  const PageMask sent = store_->committed(slot, pages.unwritten());
  if (sent == 0) return;
  for (unsigned page = 0; page < pages_of(block); ++page) {
    if ((sent & bit(page)) == 0) continue;
    below_[block * kPagesPerBlock + page] = content_of(slot, page);
  }
  pages.dirty &= ~sent;
  write_backs_.push_back({slot, sent});
}

void StoreWorkload::end_write_back() {
  if (write_backs_.empty()) return;
  const WriteBack ended = write_backs_.back();
  write_backs_.pop_back();
  const PageMask cleaned = ended.sent & ~view_.slots.at(ended.slot).pages.dirty;
  if (cleaned == 0) return;
  note_changed(ended.slot);
  store_->cleaned(ended.slot, cleaned);
}

void StoreWorkload::zero_below(std::uint64_t block) {
  if (!view_.zeros.contains(block)) return;
  commit();
  if (!view_.zeros.contains(block)) return;
  for (unsigned page = 0; page < pages_of(block); ++page) {
    below_[block * kPagesPerBlock + page] = {};
  }
  store_->zeros_removed(range_of(block));
  view_.zeros.erase(block);
}

void StoreWorkload::forget(Slot slot, PageMask mask) {
  Pages& pages = view_.slots.at(slot).pages;
  note_changed(slot);
  store_->forgotten(slot, store_->forget(slot, mask, pages.stored()));
  pages.valid &= ~mask;
  pages.zero &= ~mask;
}

PageMask StoreWorkload::clean_pages(Slot slot) const {
  const Pages& pages = view_.slots.at(slot).pages;
  return pages.valid & ~pages.dirty;
}

// A write that goes around the cache: what is clean is forgotten, durably, and then below changes.
// That the block is not cached is no reason not to commit: the drop may not be durable.
void StoreWorkload::pass_by(std::uint64_t block) {
  if (view_.zeros.contains(block)) return;
  Slot slot = find(block);
  if (slot != kNoSlot && is_writing(slot)) return;
  const unsigned page = static_cast<unsigned>(pick(pages_of(block)));
  if ((pending_pages(block) & bit(page)) != 0) return;
  if (slot != kNoSlot) {
    const Pages pages = view_.slots.at(slot).pages;
    if ((pages.dirty & bit(page)) != 0) return;
    if (pages.dirty == 0) {
      drop(slot);
      slot = kNoSlot;
    } else if ((pages.valid & bit(page)) != 0) {
      forget(slot, bit(page));
    }
  }
  commit();
  if (view_.zeros.contains(block) || find(block) != slot) return;
  if ((pending_pages(block) & bit(page)) != 0) return;
  if (slot != kNoSlot && (view_.slots.at(slot).pages.valid & bit(page)) != 0) return;
  const std::uint64_t number = block * kPagesPerBlock + page;
  below_[number].fill(++stamp_);
  history_.changed(number, below_[number]);
  if (slot != kNoSlot) store_pages(slot, page, {below_[number]}, false);
}

// Dirty content that nobody asks for any more. What is clean is forgotten first, durably; and what
// is dirty now may be clean in the committed index: that has to end, too, before below changes.
void StoreWorkload::trim_around(std::uint64_t block) {
  const Slot slot = find(block);
  if (slot == kNoSlot || is_writing(slot) || pending_pages(block) != 0) return;
  if (clean_pages(slot) != 0) forget(slot, clean_pages(slot));
  commit();
  if (find(block) != slot || is_writing(slot) || clean_pages(slot) != 0) return;
  if (pending_pages(block) != 0) return;
  if (store_->committed(slot, view_.slots.at(slot).pages.dirty) !=
      view_.slots.at(slot).pages.dirty) {
    return;
  }
  for (unsigned page = 0; page < pages_of(block); ++page) {
    below_[block * kPagesPerBlock + page] = {};
    history_.changed(block * kPagesPerBlock + page, {});
  }
  note_changed(slot);
  store_->dropped(slot);
  store_->discard(slot);
  store_->vacated(slot);
  view_.slots.erase(slot);
  free_.push_back(slot);
}

}  // namespace nbdstack::testing
