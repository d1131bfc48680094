// DurableStore: the verbs on content. durable_store.hpp decides the place of each page.
#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "common/log.hpp"
#include "filters/cache/store/durable/durable_store.hpp"

namespace nbdstack {
namespace {

// The bound of the journal's records in memory, reached only if the journal cannot be written.
constexpr std::uint64_t kMostUnwritten_bytes = 4U << 20U;

// `old` and `now` belong to the pages of `pages`, in order. `old` keeps its value for the pages of
// `kept`, XOR that of `now` for those of `added`, and becomes 0 for the others.
void keep_only(std::span<std::uint64_t> old, std::span<const std::uint64_t> now, PageMask pages,
               PageMask kept, PageMask added) {
  for_each_page(pages, [&](unsigned page, std::size_t position) {
    if (!has_page(kept, page)) old[position] = 0;
    if (has_page(added, page)) old[position] ^= now[position];
  });
}

// `values` belong to the pages of `pages`, in order. Returns those of `wanted` alone.
record::Checksums those_of(std::span<const std::uint64_t> values, PageMask pages, PageMask wanted) {
  record::Checksums result;
  for_each_page(pages, [&](unsigned page, std::size_t position) {
    if (has_page(wanted, page)) result.push_back(values[position]);
  });
  return result;
}

}  // namespace

void DurableStore::read(Slot slot, std::span<std::byte> buffer, std::uint32_t offset_in_block) {
  MutexLock lock(mutex_);
  const PageMask copies = marks_.copies(slot);
  lock.unlock();
  files_.read(slot, buffer, offset_in_block, copies);
}

bool DurableStore::must_wait(Slot slot, PageMask touched, PageMask stored) const {
  if (punching_.contains(slot)) return true;
  const PageMask fresh = changes_in(open_, slot).written;
  const Changes closing = changes_in(closing_, slot);
  if ((touched & ~fresh & (closing.written | closing.given_up)) != 0) return true;
  return cutting_ && (touched & fresh & stored & marks_.dirty(slot)) != 0;
}

DurableStore::Placement DurableStore::place(Slot slot, PageMask touched, PageMask stored) {
  if (!allows(slot, "write", {SlotUse::taken, SlotUse::named, SlotUse::dropped})) {
    throw Error(*failure_);
  }
  while (true) {
    if (stale_second_.contains(slot) && !punching_.contains(slot)) {
      punch_stale(slot);
    } else if (must_wait(slot, touched, stored)) {
      if (failure_) throw Error(*failure_);
      changed_.wait(mutex_);
    } else {
      break;
    }
  }
  const Changes open = changes_in(open_, slot);
  const PageMask fresh = touched & open.written;
  const PageMask known = stored | open.given_up;
  Placement placement;
  if (marks_.held(slot)) placement.flipped = touched & ~fresh & known;
  placement.copies = (marks_.copies(slot) ^ placement.flipped) & touched;
  if (marks_.is_named(slot)) {
    const PageMask overwritten = touched & stored & ~placement.flipped;
    placement.rewritten = overwritten & marks_.dirty(slot);
    placement.forgotten = overwritten & ~placement.rewritten;
  }
  if (placement.copies != 0) second_.insert(slot);
  if (placement.rewritten != 0) ++overwriting_;
  return placement;
}

void DurableStore::note_overwriting(Slot slot, const Placement& placement, PageMask pages,
                                    std::span<const std::uint64_t> old) {
  if (placement.forgotten == 0) return;
  const auto gone = insist([&] { return those_of(old, pages, placement.forgotten); });
  marks_.set_checksum(slot, marks_.checksum(slot) ^ combined(gone));
  changes_of(slot).given_up |= placement.forgotten;
  append(insist(
      [&] { return record::Forgotten{.slot = slot, .pages = placement.forgotten, .old = gone}; }));
}

// If writing has failed, the clean pages still belong to the engine: their checksum, `now` that of
// their present content, is part of the slot's again, though not in the journal.
void DurableStore::end_overwriting(Slot slot, const Placement& placement, PageMask pages,
                                   std::span<const std::uint64_t> old,
                                   std::span<const std::uint64_t> now, bool failed) {
  const MutexLock lock(mutex_);
  if (placement.copies != 0) second_written_ = true;
  if (failed && marks_.is_named(slot)) {
    const auto back = insist([&] { return those_of(now, pages, placement.forgotten); });
    marks_.set_checksum(slot, marks_.checksum(slot) ^ combined(back));
  }
  if (placement.rewritten == 0) return;
  if (marks_.is_named(slot)) {
    const auto gone = insist([&] { return those_of(old, pages, placement.rewritten); });
    const auto come = insist([&] { return those_of(now, pages, placement.rewritten); });
    marks_.set_checksum(slot, marks_.checksum(slot) ^ combined(gone) ^ combined(come));
    append(insist([&] {
      return record::Rewrote{.slot = slot,
                             .pages = placement.rewritten,
                             .copies = placement.copies & placement.rewritten,
                             .now = come,
                             .old = gone};
    }));
  }
  --overwriting_;
  changed_.notify_all();
}

// Returns the whole pages of a write, or nothing if `data` consists of those. `old` receives the
// checksums of their stored content. No other thread changes these pages or their place.
std::vector<std::byte> DurableStore::whole_pages(Slot slot, std::span<const std::byte> data,
                                                 std::uint32_t offset_in_block, PageMask stored,
                                                 std::span<std::uint64_t> old) const {
  const PageGeometry& geometry = files_.pages();
  const unsigned first = geometry.page_at(offset_in_block);
  const std::uint32_t begin = geometry.offset_of(first);
  const std::size_t size = old.size() * geometry.page_size();
  MutexLock lock(mutex_);
  const PageMask copies = marks_.copies(slot);
  lock.unlock();
  std::vector<std::byte> whole;
  const bool partial = offset_in_block != begin || data.size() != size;
  if (partial) whole.resize(size);
  for_each_page_run(stored, [&](unsigned run, unsigned count) {
    std::vector<std::byte> content(std::size_t{count} * geometry.page_size());
    files_.read_stored(slot, content, geometry.offset_of(run), copies);
    const auto checksums = files_.checksums(content, run);
    std::copy(checksums.begin(), checksums.end(),
              old.begin() + static_cast<std::ptrdiff_t>(run - first));
    if (!partial) return;
    if (files_.is_encrypted()) files_.decrypt(slot, content, run, copies);
    std::memcpy(&whole[geometry.offset_of(run) - begin], content.data(), content.size());
  });
  if (partial) std::memcpy(&whole[offset_in_block - begin], data.data(), data.size());
  return whole;
}

WriteReceipt DurableStore::write(Slot slot, std::span<const std::byte> data,
                                 std::uint32_t offset_in_block, PageMask stored) {
  journal_->write_long_buffer();
  if (journal_->unwritten_bytes() > kMostUnwritten_bytes) {
    throw NothingOverwritten(
        Error(ENOSPC, fmt::format("{}: there is no room for the journal", directory_->path())));
  }
  const PageGeometry& geometry = files_.pages();
  const PageMask touched =
      geometry.touched(offset_in_block, static_cast<std::uint32_t>(data.size()));
  const unsigned first = geometry.page_at(offset_in_block);
  stored &= touched;
  const auto notes = std::make_shared<Notes>();
  record::Checksums& old = notes->old;
  old.resize(static_cast<std::size_t>(std::popcount(touched)));
  std::vector<std::byte> pages = whole_pages(slot, data, offset_in_block, stored, old);
  if (!pages.empty()) data = pages;
  if (files_.is_encrypted()) pages.resize(data.size());
  record::Checksums& now = notes->now;
  now = files_.is_encrypted() ? old : files_.checksums(data, first);  // where to put them, or these
  record::Checksums left(now.size());  // what a write that fails leaves

  // From here to end_overwriting() no memory is needed: a commit may be waiting.
  MutexLock lock(mutex_);
  const Placement placement = place(slot, touched, stored);
  note_overwriting(slot, placement, touched, old);
  lock.unlock();
  try {
    if (files_.is_encrypted()) {
      files_.encrypt(slot, data, first, placement.copies, pages);
      data = pages;
      std::ranges::copy(files_.checksums(data, first), now.begin());
    }
    files_.write(slot, data, first, placement.copies);
  } catch (const std::exception& failure) {
    try {
      left = files_.checksums(slot, touched, placement.copies);
    } catch (const std::exception&) {
      std::fill(left.begin(), left.end(), 0);  // no checksum fits
    }
    end_overwriting(slot, placement, touched, old, left, true);
    const auto* const error = dynamic_cast<const Error*>(&failure);
    const bool intact = (placement.rewritten | placement.forgotten) == 0;
    if (error != nullptr && intact) throw NothingOverwritten(*error);
    throw;
  }
  end_overwriting(slot, placement, touched, old, now, false);

  // The checksums that wrote() has to take out, without those taken out already.
  notes->flipped = placement.flipped;
  notes->rewritten = placement.rewritten;
  keep_only(old, now, touched, placement.flipped & stored, placement.rewritten);
  return {.pages = touched, .notes = notes};
}

WriteReceipt DurableStore::forget(Slot slot, PageMask pages, PageMask stored) {
  MutexLock lock(mutex_);
  if (!allows(slot, "forget", {SlotUse::taken, SlotUse::named, SlotUse::dropped})) {
    throw Error(*failure_);
  }
  const PageMask copies = marks_.copies(slot);
  lock.unlock();
  const PageMask gone = pages & stored;
  const record::Checksums of_gone = files_.checksums(slot, gone, copies);
  record::Checksums old(static_cast<std::size_t>(std::popcount(pages)));
  auto next = of_gone.begin();
  for_each_page(pages, [&](unsigned page, std::size_t position) {
    if (has_page(gone, page)) old[position] = *next++;
  });
  return {.pages = pages, .notes = std::make_shared<const Notes>(Notes{.old = std::move(old)})};
}

bool DurableStore::verify(Slot slot, PageMask stored) {
  MutexLock lock(mutex_);
  if (!allows(slot, "verify", {SlotUse::named, SlotUse::dropped})) return false;
  const PageMask copies = marks_.copies(slot);
  const std::uint64_t checksum = marks_.checksum(slot);
  lock.unlock();
  bool intact = false;
  try {
    intact = combined(files_.checksums(slot, stored, copies)) == checksum;
  } catch (const Error& error) {
    log::error("cache: {}", error.what());
  }
  if (intact) return true;
  lock.lock();
  marks_.set_checksum(slot, 0);
  if (marks_.is_named(slot)) {
    changes_of(slot);
    append(record::Damaged{slot});
  }
  return false;
}

void DurableStore::discard(Slot slot) {
  MutexLock lock(mutex_);
  while (punching_.contains(slot)) changed_.wait(mutex_);
  if (!allows(slot, "discard", {SlotUse::dropped}) || marks_.held(slot)) return;
  stale_second_.insert(slot);
  punch_stale(slot);
  punching_.insert(slot);
  std::optional<Error> failure;
  try {
    const MutexUnlock unlocked(mutex_);
    files_.punch(slot, false);
  } catch (const Error& error) {
    failure = error;
  }
  punching_.erase(slot);
  changed_.notify_all();
  if (failure) throw Error(*failure);
}

// Gives the slot's part of data2 back. A failure is logged: the storage stays in use.
void DurableStore::punch_stale(Slot slot) {
  stale_second_.erase(slot);
  if (!second_.contains(slot)) return;
  punching_.insert(slot);
  bool punched = false;
  try {
    const MutexUnlock unlocked(mutex_);
    files_.punch(slot, true);
    punched = true;
  } catch (const Error& error) {
    log::error("cache: {}", error.what());
  }
  if (punched) second_.erase(slot);
  punching_.erase(slot);
  changed_.notify_all();
}

void DurableStore::punch_all_stale() {
  while (!stale_second_.empty()) {
    const Slot slot = *stale_second_.begin();
    if (punching_.contains(slot)) {
      changed_.wait(mutex_);
    } else {
      punch_stale(slot);
    }
  }
}

}  // namespace nbdstack
