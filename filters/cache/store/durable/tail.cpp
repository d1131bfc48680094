#include "filters/cache/store/durable/tail.hpp"

#include "common/log.hpp"

namespace nbdstack {
namespace {

// Calls fn(page, position among the pages of the mask).
template <typename Fn>
void for_each_page(PageMask pages, Fn&& fn) {
  std::size_t position = 0;
  for_each_page_run(pages, [&](unsigned first, unsigned count) {
    for (unsigned page = first; page < first + count; ++page) fn(page, position++);
  });
}

}  // namespace

void Tail::apply(const Record& record) {
  using Kind = Record::Kind;
  switch (record.kind) {
    case Kind::wrote:
      wrote(record);
      break;
    case Kind::rewrote:
      rewrote(record);
      break;
    case Kind::zeroed:
    case Kind::forgotten:
      replace(record);
      break;
    case Kind::cleaned:
      if (const auto found = candidates_.find(record.slot); found != candidates_.end()) {
        for (auto& [page, candidate] : found->second) {
          if (((record.second >> page) & 1U) != 0) candidate.dirty = false;
        }
      }
      index_.apply(record);
      break;
    case Kind::dropped:
    case Kind::damaged:
      candidates_.erase(record.slot);
      index_.apply(record);
      break;
    case Kind::zeros_added:
    case Kind::zeros_removed:
    case Kind::commit:
      index_.apply(record);
      break;
  }
}

// The candidate's page leaves the checksum of what is certain, but not its pages.
void Tail::wrote(const Record& record) {
  const BlockNumber block{record.first};
  if (record.slot < index_.slots() && index_[record.slot].block != block) {
    candidates_.erase(record.slot);
  }
  SlotIndex::Entry& entry = index_.claim(record.slot, block, record.sequence);
  Candidates& candidates = candidates_[record.slot];
  for_each_page(record.second, [&](unsigned page, std::size_t position) {
    const auto [at, is_new] = candidates.try_emplace(page);
    Candidate& candidate = at->second;
    if (is_new && entry.is_stored(page)) {
      candidate.certain_checksum = record.old_checksums[position];
      entry.checksum ^= candidate.certain_checksum;
    }
    candidate.checksum = record.new_checksums[position];
    candidate.second = ((record.copies >> page) & 1U) != 0;
    candidate.dirty = record.flag;
  });
}

// Only content of the tail is rewritten, so there is a candidate, unless records are missing.
void Tail::rewrote(const Record& record) {
  const auto found = candidates_.find(record.slot);
  if (found == candidates_.end()) return;
  for_each_page(record.second, [&](unsigned page, std::size_t position) {
    const auto at = found->second.find(page);
    if (at != found->second.end()) at->second.checksum = record.new_checksums[position];
  });
}

// Pages with a candidate are out of the checksum already: their old content must not leave it a
// second time.
void Tail::replace(const Record& record) {
  Record rest = record;
  if (const auto found = candidates_.find(record.slot); found != candidates_.end()) {
    for_each_page(record.second, [&](unsigned page, std::size_t position) {
      if (found->second.erase(page) > 0 && position < rest.old_checksums.size()) {
        rest.old_checksums[position] = 0;
      }
    });
  }
  index_.apply(rest);
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

// Whether the page's content is of any use.
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
