#include "filters/cache/engine/guarded_state.hpp"

#include <algorithm>
#include <new>
#include <vector>

#include "common/log.hpp"

namespace nbdstack {

GuardedState::GuardedState(const CacheSettings& chosen, std::uint64_t size_bytes,
                           std::unique_ptr<SlotStore> with_store)
    : settings(chosen),
      geometry(size_bytes, settings.block_size),
      pages(settings.block_size),
      store(std::move(with_store)),
      fetches(geometry),
      changes_below(size_bytes, settings.block_size),
      schedule(settings, store->is_durable()),
      pressure(settings),
      residents(settings, geometry, pages, *store, fetches, pressure, schedule),
      is_pressed(pressure.flag()) {
  residents.take_over(store->recover());
  if (residents.has_unwritten()) schedule.want_everything();
}

void GuardedState::discard_dropped() {
  const std::vector<Slot> slots = residents.to_discard();
  if (slots.empty()) return;
  {
    const MutexUnlock unlocked(mutex);
    for (const Slot slot : slots) {
      try {
        store->discard(slot);
      } catch (const std::exception&) {
        // Its storage stays in use.
      }
    }
  }
  for (const Slot slot : slots) residents.discarded(slot);
}

// The caller owns the pages, and has pinned the slot; no write-back of them is under way. Fetched
// content of them may be older than the forgotten one. They become invalid before the mutex is
// released, so that no write-back completes a request with other content in their place.
void GuardedState::forget_pages(Slot slot, PageMask touched) {
  if (!residents.is_attached(slot)) return;
  const Pages before = residents.pages(slot);
  const PageMask clean = residents.forget_clean(slot, touched);
  if (clean == 0) return;
  WriteReceipt given_up;
  try {
    const MutexUnlock unlocked(mutex);
    given_up = store->forget(slot, clean, before.stored() & clean);
  } catch (const std::exception&) {  // the store still has them
    if (residents.is_attached(slot)) residents.remember(slot, before, clean);
    throw;
  }
  if (residents.is_attached(slot)) residents.forgotten(slot, given_up);
}

void GuardedState::fill(BlockNumber block, std::span<const std::byte> content) {
  Slot slot = residents.find(block);
  if (residents.is_unverified(slot)) return;
  if (slot == kNoSlot) {
    const auto taken = residents.take_slot(block);
    if (!taken) return;
    slot = *taken;
  }
  residents.pin(slot);
  const Pages before = residents.pages(slot);
  const PageMask missing = pages.all(geometry.length_of(block)) & ~before.valid & ~before.damaged();
  std::vector<WriteReceipt> stored;
  const auto store_run = [&](std::uint32_t offset, std::uint32_t length) {
    stored.push_back(store->write(slot, content.subspan(offset, length), offset, 0));
  };
  {
    const MutexUnlock unlocked(mutex);
    try {
      say("storing", block);
      try {
        pages.for_each_run(missing, content.size(), store_run);
      } catch (const Error& error) {
        storage_failed(error);
      }
    } catch (const std::bad_alloc&) {
      // Only the rest is not cached.
    }
  }
  if (residents.is_attached(slot)) {
    for (const WriteReceipt& part : stored) residents.wrote(slot, part, false);
    if (!stored.empty()) storage_worked(slot);
  }
  give_back(slot);
}

Slot GuardedState::find_verified(BlockNumber block) {
  Slot slot = residents.find(block);
  while (residents.is_unverified(slot)) {
    verify(slot);
    slot = residents.find(block);
  }
  return slot;
}

void GuardedState::verify(Slot slot) {
  const BlockNumber block = residents[slot].block();
  if (residents[slot].verifying) {
    while (residents.find(block) == slot && residents[slot].verifying) changed.wait(mutex);
    return;
  }
  const PageMask stored = residents.pages(slot).stored();
  residents.begin_verify(slot);
  bool intact = stored == 0;
  bool looked = true;
  try {
    const MutexUnlock unlocked(mutex);
    intact = intact || store->verify(slot, stored);
  } catch (const Error& error) {
    intact = false;
  } catch (const std::bad_alloc&) {
    looked = false;  // the next caller verifies again
  }
  const auto damaged = residents.end_verify(slot, looked, intact);
  const Range range = geometry.range_of(residents[slot].block());
  give_back(slot);
  if (!looked) throw std::bad_alloc();
  if (damaged) report_damaged(*damaged, range);
}

void GuardedState::report_damaged(const Pages& before, const Range& range) const {
  if ((before.stored() & before.dirty) == 0) {
    log::debug("cache: the cached copy of the block at offset {} is damaged: it is dropped",
               range.offset);
  }
  const auto report = [&](std::uint32_t offset, std::uint32_t length) {
    log::error(
        "cache: {} bytes at offset {} were written by a client, had not reached the plugin, and "
        "are DAMAGED in {}: reading them and flushing are errors until they are overwritten, "
        "zeroed or trimmed",
        length, range.offset + offset, store->name());
  };
  pages.for_each_run(before.stored() & before.dirty, range.length, report);
}

void GuardedState::report_damage() {
  const MutexLock lock(mutex);
  if (residents.damaged_blocks() == 0) return;
  throw Error(EIO,
              fmt::format("cache: what clients wrote to {} blocks, the first of them at offset "
                          "{}, was damaged in {} before it reached the plugin: a flush "
                          "succeeds again when all of it is overwritten, zeroed or trimmed",
                          residents.damaged_blocks(), geometry.offset_of(residents.first_damaged()),
                          store->name()));
}

Range GuardedState::aligned_around(const Range& range, std::uint64_t alignment) const {
  const std::uint64_t first = range.offset & ~(alignment - 1);
  const std::uint64_t end = (range.end() + alignment - 1) & ~(alignment - 1);
  return {first, std::min(geometry.size_bytes(), end) - first};
}

void GuardedState::say(const char* what, BlockNumber block) const {
  if (settings.verbose) {
    log::debug("cache: {} block {} (offset {})", what, block.value, geometry.offset_of(block));
  }
}

FlushTicket::FlushTicket(GuardedState& state, const Layer& below) : state_(state) {
  if (!state.settings.makes_flushes_durable() || below.traits().can_multi_conn) return;
  const MutexLock lock(state_.mutex);
  ticket_ = state_.ledger.open();
}

FlushTicket::~FlushTicket() {
  if (!ticket_) return;
  const MutexLock lock(state_.mutex);
  state_.ledger.close(*ticket_);
  state_.ticket_closed.notify_all();
}

void FlushTicket::wait_for_earlier() const {
  if (!ticket_) return;
  const MutexLock lock(state_.mutex);
  while (!state_.ledger.is_oldest(*ticket_)) state_.ticket_closed.wait(state_.mutex);
}

}  // namespace nbdstack
