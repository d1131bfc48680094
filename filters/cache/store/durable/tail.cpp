#include "filters/cache/store/durable/tail.hpp"

#include <utility>

#include "common/log.hpp"

namespace nbdstack {

void Tail::apply(const Record& record) {
  std::visit([&](const auto& event) { apply(event, record); }, record.event);
}

// The candidate's page leaves the checksum of the certain version, but not its pages.
void Tail::apply(const record::Wrote& wrote, const Record& record) {
  if (wrote.slot < index_.slots() && index_[wrote.slot].block != wrote.block) {
    candidates_.erase(wrote.slot);
  }
  SlotIndex::Entry& entry = index_.claim(wrote.slot, wrote.block, record.sequence);
  Candidates& candidates = candidates_[wrote.slot];
  for_each_page(wrote.pages, [&](unsigned page, std::size_t position) {
    const auto [at, is_new] = candidates.try_emplace(page);
    Candidate& candidate = at->second;
    if (is_new && entry.is_stored(page)) {
      candidate.certain_checksum = wrote.old[position];
      entry.checksum ^= candidate.certain_checksum;
    }
    candidate.checksum = wrote.now[position];
    candidate.second = has_page(wrote.copies, page);
    candidate.dirty = wrote.dirty;
  });
}

// Only content of the tail is rewritten, so there is a candidate, unless records are missing.
void Tail::apply(const record::Rewrote& rewrote, const Record& /*record*/) {
  const auto found = candidates_.find(rewrote.slot);
  if (found == candidates_.end()) return;
  for_each_page(rewrote.pages, [&](unsigned page, std::size_t position) {
    const auto at = found->second.find(page);
    if (at != found->second.end()) at->second.checksum = rewrote.now[position];
  });
}

// For zeroed and forgotten. Pages with a candidate are not in the checksum any more: their old
// content must not be removed from it a second time.
template <typename GivenUp>
void Tail::give_up(GivenUp given_up, std::uint64_t sequence) {
  if (const auto found = candidates_.find(given_up.slot); found != candidates_.end()) {
    for_each_page(given_up.pages, [&](unsigned page, std::size_t position) {
      if (found->second.erase(page) > 0 && position < given_up.old.size()) {
        given_up.old[position] = 0;
      }
    });
  }
  index_.apply({.event = std::move(given_up), .sequence = sequence});
}

void Tail::apply(const record::Zeroed& zeroed, const Record& record) {
  give_up(zeroed, record.sequence);
}

void Tail::apply(const record::Forgotten& forgotten, const Record& record) {
  give_up(forgotten, record.sequence);
}

void Tail::apply(const record::Cleaned& cleaned, const Record& record) {
  if (const auto found = candidates_.find(cleaned.slot); found != candidates_.end()) {
    for (auto& [page, candidate] : found->second) {
      if (has_page(cleaned.pages, page)) candidate.dirty = false;
    }
  }
  index_.apply(record);
}

// For dropped and damaged, and for records without a slot.
template <typename Other>
void Tail::apply(const Other& other, const Record& record) {
  if constexpr (requires { other.slot; }) candidates_.erase(other.slot);
  index_.apply(record);
}

bool Tail::is_there(Slot slot, unsigned page, bool second, std::uint64_t checksum) const {
  const PageMask mask = page_run(page, 1);
  return files_.checksums(slot, mask, second ? mask : 0).front() == checksum;
}

void Tail::check_unnamed(Slot slot, PageMask named) {
  SlotIndex::Entry& entry = index_[slot];
  const PageMask rest = entry.pages.stored() & ~named;
  if (rest == 0) return;
  if (combined(files_.checksums(slot, rest, entry.copies)) == entry.checksum) return;
  if ((rest & entry.pages.dirty) != 0) {
    log::error("cache: the content of the cached block at offset {} is damaged, and it was dirty",
               index_.geometry().offset_of(entry.block));
  }
  entry.checksum = 0;
  entry.pages.valid &= ~rest;
  entry.copies &= ~rest;
}

// Returns whether the page's content is usable.
bool Tail::decide(Slot slot, unsigned page, const Candidate& candidate) {
  SlotIndex::Entry& entry = index_[slot];
  const PageMask mask = page_run(page, 1);
  if (is_there(slot, page, candidate.second, candidate.checksum)) {
    entry.checksum ^= candidate.checksum;
    entry.copies = candidate.second ? entry.copies | mask : entry.copies & ~mask;
    entry.pages.valid |= mask;
    entry.pages.zero &= ~mask;
    entry.pages.hole &= ~mask;
    entry.pages.dirty = candidate.dirty ? entry.pages.dirty | mask : entry.pages.dirty & ~mask;
    return true;
  }
  if (!entry.is_stored(page)) return true;
  if (is_there(slot, page, (entry.copies & mask) != 0, candidate.certain_checksum)) {
    entry.checksum ^= candidate.certain_checksum;
    return true;
  }
  entry.pages.valid &= ~mask;
  return (entry.pages.dirty & mask) == 0;
}

void Tail::finish() {
  for (const auto& [slot, candidates] : candidates_) {
    if (!index_[slot].in_use) continue;
    PageMask named = 0;
    for (const auto& [page, candidate] : candidates) named |= page_run(page, 1);
    check_unnamed(slot, named);
    for (const auto& [page, candidate] : candidates) {
      if (decide(slot, page, candidate)) continue;
      log::error("cache: page {} of the cached block at offset {} is damaged, and it was dirty",
                 page, index_.geometry().offset_of(index_[slot].block));
    }
  }
}

}  // namespace nbdstack
