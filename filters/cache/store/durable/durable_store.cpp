#include "filters/cache/store/durable/durable_store.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <exception>
#include <new>
#include <utility>

#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/store/durable/index.hpp"
#include "filters/cache/store/durable/recovery.hpp"
#include "filters/cache/store/durable/snapshot.hpp"

namespace nbdstack {

// --- Index ---

// A block that was zeros without storage has a receipt without notes.
const DurableStore::Notes& DurableStore::notes_of(const WriteReceipt& receipt) {
  static const Notes none;
  return receipt.notes ? *static_cast<const Notes*>(receipt.notes.get()) : none;
}

DurableStore::Changes DurableStore::changes_in(const Epoch& epoch, Slot slot) {
  const auto found = epoch.find(slot);
  return found == epoch.end() ? Changes() : found->second;
}

// Checks the states of slot_store.hpp. A violation is a fault of this program, and must not cost
// data silently: from now on no commit claims that anything is durable.
bool DurableStore::allows(Slot slot, const char* verb, std::initializer_list<SlotUse> uses) {
  const SlotUse use = marks_.use(slot);
  if (std::find(uses.begin(), uses.end(), use) != uses.end()) return true;
  static constexpr std::array kNames{"free", "taken", "named", "dropped"};
  Error error(
      EIO, fmt::format("cache: a fault in this program: {} of slot {} in {}, which is {}; "
                       "what is cached is not durable from now on, start again",
                       verb, slot, directory_->path(), kNames.at(static_cast<std::size_t>(use))));
  log::error("{}", error.what());
  if (!failure_) failure_ = std::move(error);
  return false;
}

void DurableStore::taken(Slot slot) {
  const MutexLock lock(mutex_);
  if (allows(slot, "taken", {SlotUse::free}))
    insist([&](SlotMarks& marks) { marks.set_use(slot, SlotUse::taken); }, marks_);
}

DurableStore::Changes& DurableStore::changes_of(Slot slot) {
  return insist([&](Epoch& open) -> Changes& { return open[slot]; }, open_);
}

void DurableStore::begin_use(Slot slot) {
  if (marks_.is_named(slot)) return;
  marks_.set_checksum(slot, 0);
  marks_.set_dirty(slot, 0);
  marks_.set_use(slot, SlotUse::named);
}

void DurableStore::wrote(Slot slot, BlockNumber block, const WriteReceipt& stored, bool dirty) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "wrote", {SlotUse::taken, SlotUse::named})) return;
  begin_use(slot);
  const Notes& notes = notes_of(stored);
  marks_.set_checksum(slot, marks_.checksum(slot) ^ combined(notes.now) ^ combined(notes.old));
  marks_.set_copies(slot, marks_.copies(slot) ^ notes.flipped);
  const PageMask before = marks_.dirty(slot);
  marks_.set_dirty(slot, dirty ? before | stored.pages : before & ~stored.pages);
  // Rewritten pages are fresh in the epoch in which that happened: a commit may have begun since.
  const PageMask fresh = stored.pages & ~notes.rewritten;
  if (dirty || marks_.held(slot) || open_.contains(slot)) {
    Changes& changes = changes_of(slot);
    changes.replaced |= before & fresh & ~changes.written;
    changes.written |= fresh;
  }
  append(insist([&, copies = marks_.copies(slot)] {
    return record::Wrote{.slot = slot,
                         .block = block,
                         .pages = stored.pages,
                         .copies = copies & stored.pages,
                         .dirty = dirty,
                         .now = notes.now,
                         .old = notes.old};
  }));
}

void DurableStore::zeroed(Slot slot, BlockNumber block, const WriteReceipt& given_up,
                          bool may_trim) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "zeroed", {SlotUse::taken, SlotUse::named})) return;
  begin_use(slot);
  const bool all = given_up.pages == files_.pages().all(geometry_.length_of(block));
  const record::Checksums& old = notes_of(given_up).old;
  marks_.set_checksum(slot, all ? 0 : marks_.checksum(slot) ^ combined(old));
  const PageMask before = marks_.dirty(slot);
  marks_.set_dirty(slot, before | given_up.pages);
  Changes& changes = changes_of(slot);
  changes.replaced |= before & given_up.pages & ~(changes.written | changes.given_up);
  changes.given_up |= given_up.pages;
  append(insist([&] {
    return record::Zeroed{
        .slot = slot, .block = block, .pages = given_up.pages, .may_trim = may_trim, .old = old};
  }));
}

void DurableStore::forgotten(Slot slot, const WriteReceipt& given_up) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "forgotten", {SlotUse::named})) return;
  const record::Checksums& old = notes_of(given_up).old;
  marks_.set_checksum(slot, marks_.checksum(slot) ^ combined(old));
  marks_.set_dirty(slot, marks_.dirty(slot) & ~given_up.pages);
  changes_of(slot).given_up |= given_up.pages;
  append(
      insist([&] { return record::Forgotten{.slot = slot, .pages = given_up.pages, .old = old}; }));
}

void DurableStore::cleaned(Slot slot, PageMask pages) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "cleaned", {SlotUse::named})) return;
  marks_.set_dirty(slot, marks_.dirty(slot) & ~pages);
  changes_of(slot);
  append(record::Cleaned{slot, pages});
}

void DurableStore::dropped(Slot slot) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "dropped", {SlotUse::taken, SlotUse::named})) return;
  const bool was_named = marks_.is_named(slot);
  marks_.set_use(slot, SlotUse::dropped);
  marks_.set_checksum(slot, 0);
  marks_.set_dirty(slot, 0);
  if (!was_named) return;
  Changes& changes = changes_of(slot);
  changes.given_up = ~PageMask{0};
  changes.replaced = 0;
  append(record::Dropped{slot});
}

void DurableStore::vacated(Slot slot) {
  const MutexLock lock(mutex_);
  if (!allows(slot, "vacated", {SlotUse::dropped})) return;
  marks_.set_use(slot, SlotUse::free);
  release_if_unused(slot);
}

// Nothing in the slot is needed any more, now or after a crash. A slot that has been taken again is
// in use although nothing has been noted: a page may be on its way into data2.
void DurableStore::release_if_unused(Slot slot) {
  if (marks_.use(slot) != SlotUse::free || marks_.held(slot)) return;
  marks_.set_copies(slot, 0);
  open_.erase(slot);
  if (second_.contains(slot)) insist([&](auto& stale) { stale.insert(slot); }, stale_second_);
}

void DurableStore::zeros_added(const Range& range, bool may_trim) {
  const MutexLock lock(mutex_);
  insist([&](auto& zeros) { zeros.assign(range, true); }, open_zeros_);
  insist([&](auto& zeros) { zeros.assign(range, true); }, zeros_);
  append(record::ZerosAdded{range, may_trim});
}

void DurableStore::zeros_removed(const Range& range) {
  const MutexLock lock(mutex_);
  insist([&](auto& zeros) { zeros.erase(range); }, zeros_);
  append(record::ZerosRemoved{range});
}

bool DurableStore::zeros_committed(const Range& range) const {
  const MutexLock lock(mutex_);
  return !open_zeros_.overlaps(range) && !closing_zeros_.overlaps(range);
}

PageMask DurableStore::committed(Slot slot, PageMask dirty) const {
  const MutexLock lock(mutex_);
  const Changes open = changes_in(open_, slot);
  const Changes closing = changes_in(closing_, slot);
  return dirty & ~(open.written | open.given_up | closing.written | closing.given_up);
}

// Both epochs count: if a page was changed in each, the older change is not committed either.
PageMask DurableStore::changed_since(Slot slot, PageMask dirty) const {
  const MutexLock lock(mutex_);
  return dirty & (changes_in(open_, slot).replaced | changes_in(closing_, slot).replaced);
}

bool DurableStore::may_reuse(Slot slot) const {
  const MutexLock lock(mutex_);
  return !marks_.held(slot);
}

std::size_t DurableStore::extra_slots() const {
  const MutexLock lock(mutex_);
  return second_.size();
}

// --- Durability ---

void DurableStore::publish() {
  try {
    journal_->write_out();
  } catch (const NoRoom&) {
    const MutexLock lock(mutex_);
    lacked_room_ = true;
    throw;
  }
}

void DurableStore::commit() {
  const MutexLock lock(mutex_);
  const std::uint64_t wanted = journal_->last_sequence();
  while (true) {
    if (failure_) throw Error(*failure_);
    if (committed_sequence_ >= wanted) return punch_all_stale();
    if (committing_) {
      changed_.wait(mutex_);
      continue;
    }
    lead_commit(is_long(), {});
  }
}

bool DurableStore::is_long() const {
  const std::uint64_t shortest = lacked_room_
                                     ? std::min(shortest_journal_bytes_, Journal::kReserve_bytes)
                                     : shortest_journal_bytes_;
  return !replacing_ && journal_->size_bytes() > std::max(shortest, 2 * snapshot_bytes_);
}

// A new journal is a convenience: if it cannot be made, the old one continues.
bool DurableStore::prepare_next() {
  const MutexUnlock unlocked(mutex_);
  try {
    journal_->prepare_next();
    return true;
  } catch (const Error& error) {
    if (!is_for_lack_of_room(error)) {
      log::error("cache: no new journal was begun: {}", error.what());
    }
    return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

// The end of the epoch; returns the content of the note.
CommitNote::Commit DurableStore::begin_closing(bool start_next) {
  cutting_ = true;
  while (overwriting_ != 0) changed_.wait(mutex_);
  cutting_ = false;
  const std::uint64_t covered = journal_->cut(start_next);
  closing_ = std::exchange(open_, {});
  closing_zeros_ = std::exchange(open_zeros_, {});
  for (auto& [slot, changes] : closing_) {
    changes.dirty_at_end = marks_.dirty(slot);
    if (changes.dirty_at_end != 0) marks_.set_held(slot, true);
  }
  return {covered, marks_.dirty_slots() > 0 || !zeros_.empty()};
}

void DurableStore::make_durable(const CommitNote::Commit& commit, bool with_second) {
  journal_->write_out();
  files_.sync_first();
  if (with_second) files_.sync_second();
  journal_->commit(commit.sequence);
  try {
    note_->write(commit);
  } catch (const Error& error) {
    // The older note proves less, but is true.
    if (!is_for_lack_of_room(error)) throw;
  }
}

void DurableStore::lead_commit(bool start_next, std::span<const Slot> order) {
  committing_ = true;
  if (start_next) replacing_ = true;
  const bool is_next = start_next && prepare_next();
  const CommitNote::Commit commit = begin_closing(is_next);
  const bool with_second = std::exchange(second_written_, false);
  std::optional<Error> failure;
  bool has_not_happened = false;
  try {
    const MutexUnlock unlocked(mutex_);
    make_durable(commit, with_second);
  } catch (const NoRoom& error) {
    failure = error;
    has_not_happened = lacked_room_ = true;
  } catch (const Error& error) {
    failure = error;
  } catch (const std::bad_alloc&) {  // nothing allocates once the commit record is written
    failure = insist([] { return Error(ENOMEM, "cache: out of memory"); });
    has_not_happened = true;
  }
  if (has_not_happened && !failure_) {
    second_written_ = second_written_ || with_second;
    if (start_next) replacing_ = false;
    reopen_epoch();
    committing_ = false;
    changed_.notify_all();
    throw Error(*failure);
  }
  committing_ = false;
  if (!failure) failure = failure_;  // a fault found meanwhile
  if (failure) {
    failure_ = failure;
  } else {
    committed_sequence_ = commit.sequence;
    note_written_ = true;
    end_epoch();
  }
  changed_.notify_all();
  if (failure) throw Error(*failure);
  punch_all_stale();
  if (!start_next) return;
  if (is_next) {
    const MutexUnlock unlocked(mutex_);
    replace_snapshot(journal_->generation(), order);
  }
  replacing_ = false;
  changed_.notify_all();
}

// The commit that was to cover the epoch has failed.
void DurableStore::reopen_epoch() {
  for (const auto& [slot, changes] : closing_) {
    Changes& open = changes_of(slot);
    open.written |= changes.written;
    open.given_up |= changes.given_up;
    open.replaced |= changes.replaced;
  }
  const Range disk{0, geometry_.size_bytes()};
  const auto zeros =
      insist([&](auto& closing) { return closing.overlapping(disk); }, closing_zeros_);
  for (const auto& run : zeros) {
    insist([&](auto& open) { open.assign(run.range, run.value); }, open_zeros_);
  }
  closing_.clear();
  closing_zeros_.clear();
}

void DurableStore::end_epoch() {
  for (const auto& [slot, changes] : closing_) {
    if (changes.dirty_at_end != 0) continue;
    marks_.set_held(slot, false);
    release_if_unused(slot);
  }
  closing_.clear();
  closing_zeros_.clear();
}

// A failure here fails no commit: the old snapshot and all journals since have the same content.
void DurableStore::replace_snapshot(std::uint64_t generation, std::span<const Slot> order) {
  try {
    SlotIndex index(geometry_);
    const LoadedIndex loaded = load_committed(*directory_, generation, files_, index);
    const std::vector<Slot> as_named = order.empty() ? index.order() : std::vector<Slot>();
    write_snapshot(*directory_, index, order.empty() ? std::span<const Slot>(as_named) : order,
                   generation, loaded.sequence);
    remove_before(*directory_, generation);
    const MutexLock lock(mutex_);
    snapshot_bytes_ = std::uint64_t{index.slots()} * snapshot_entry_bytes(files_.pages());
  } catch (const std::exception& error) {
    log::error("cache: no new index was written: {}", error.what());
  }
}

void DurableStore::confirm() {
  {
    const MutexLock lock(mutex_);
    if (!std::exchange(note_written_, false)) return;
  }
  try {
    note_->sync();
  } catch (const Error& error) {
    log::error("cache: {}", error.what());
  }
}

// Makes a last commit and begins a new journal, which stays empty: the snapshot has everything.
void DurableStore::close(std::span<const Slot> least_recent_first) {
  {
    const MutexLock lock(mutex_);
    while (committing_ || replacing_) changed_.wait(mutex_);
    if (failure_) throw Error(*failure_);
    lead_commit(true, least_recent_first);
  }
  confirm();
}

}  // namespace nbdstack
