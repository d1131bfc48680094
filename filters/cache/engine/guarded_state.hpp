// The state of one disk's cache, with the mutex that guards it and the store: what the classes of
// the engine share, and the operations of all of them on slots and the store.
//
// The state is in the parts (state/), each of which is synchronized by `mutex`. The mutex is never
// held across the layer below or file I/O; a caller that needs a slot's content meanwhile pins it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "common/block/expect_on_disk.hpp"
#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "common/block/range_lock.hpp"
#include "common/error.hpp"
#include "common/sync/mutex.hpp"
#include "filters/cache/state/changes_below.hpp"
#include "filters/cache/state/fetches.hpp"
#include "filters/cache/state/flush_ledger.hpp"
#include "filters/cache/state/pressure.hpp"
#include "filters/cache/state/residents.hpp"
#include "filters/cache/state/schedule.hpp"
#include "filters/cache/state/settings.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

// How reads of clients were answered. Prefetches do not count.
struct ReadCounts {
  std::uint64_t hits = 0;    // all of it was in the cache
  std::uint64_t misses = 0;  // some of it was read from below, or by a fetch that was under way
};

struct GuardedState {
  GuardedState(const CacheSettings& chosen, std::uint64_t size_bytes,
               std::unique_ptr<SlotStore> with_store);

  // --- Slots ---

  // Returns the slot of a block, or kNoSlot. Verifies it at the first use since recovery.
  [[nodiscard]] Slot find_verified(BlockNumber block) REQUIRES(mutex);
  // Called at the first use of a recovered block: verifies that its content is intact. The mutex is
  // released meanwhile.
  void verify(Slot slot) REQUIRES(mutex);
  // Forgets the clean ones of the pages. The mutex is released meanwhile.
  void forget_pages(Slot slot, PageMask touched) REQUIRES(mutex);
  void discard_dropped() REQUIRES(mutex);
  // Stores the pages of a block that are not cached yet, with their content from below, if there is
  // room without writing back. The caller owns the block; the mutex is released meanwhile.
  void fill(BlockNumber block, std::span<const std::byte> content) REQUIRES(mutex);
  // Ends a pin.
  void give_back(Slot slot) REQUIRES(mutex) {
    residents.unpin(slot);
    changed.notify_all();
  }
  // Throws if content that a client wrote is lost, since a flush cannot make it durable. The error
  // ends when the client overwrites or discards what is damaged.
  void report_damage();

  // --- The store, whose disk may be full (storage_pressure.cpp) ---

  void storage_failed(const Error& error);
  // The slot's storage has accepted a write.
  void storage_worked(Slot slot) REQUIRES(mutex);
  // Like the store's, but if the disk is full clean blocks give their storage back. If publishing
  // fails nevertheless, the only effect is that it does not survive a kill.
  void publish();
  void commit();

  // --- Ranges ---

  // Return the smallest range of whole blocks, or pages, that contains `range`.
  [[nodiscard]] Range blocks_covering(const Range& range) const {
    return aligned_around(range, settings.block_size);
  }
  [[nodiscard]] Range pages_covering(const Range& range) const {
    return aligned_around(range, pages.page_size());
  }
  [[nodiscard]] Range aligned_around(const Range& range, std::uint64_t alignment) const;
  // Returns the pages of a block that `range` touches.
  [[nodiscard]] PageMask pages_touched(const Range& block, const Range& range) const {
    const Range part = range.intersection(block);
    if (part.empty()) return 0;
    return pages.touched(static_cast<std::uint32_t>(part.offset - block.offset),
                         static_cast<std::uint32_t>(part.length));
  }
  [[nodiscard]] Range whole_disk() const { return {0, geometry.size_bytes()}; }
  // The range of every request, from the client or to the layer below, is on the disk.
  void expect_on_disk(const Range& range) const {
    nbdstack::expect_on_disk(range, geometry.size_bytes());
  }
  void say(const char* what, BlockNumber block) const;

  const CacheSettings settings;
  const BlockGeometry geometry;
  const PageGeometry pages;
  const std::unique_ptr<SlotStore> store;
  // A change of a page (a client's write, zero or trim, the storing of a fetch) owns it here from
  // before reading its state until the table has the new one. So two changes of one page run one
  // after the other, and others in parallel.
  RangeLock changes;
  // Called whenever the next background step should run at once. Set before the first request.
  std::function<void()> wake_background = [] {};

  mutable Mutex mutex;
  // Some block changed its state, something below ended, or a slot became free.
  ConditionVariable changed;
  ConditionVariable ticket_closed;  // of the ledger
  Fetches fetches GUARDED_BY(mutex);
  ChangesBelow changes_below GUARDED_BY(mutex);
  Schedule schedule GUARDED_BY(mutex);
  Pressure pressure GUARDED_BY(mutex);
  Residents residents GUARDED_BY(mutex);
  FlushLedger ledger GUARDED_BY(mutex);
  ReadCounts read_counts GUARDED_BY(mutex);
  const std::atomic<bool>& is_pressed;  // room has to be made; read without the mutex

 private:
  void report_damaged(const Pages& before, const Range& range) const;
  bool give_back_room();
};

// Ends a pin in any case. Its owner does not hold the mutex when it is destroyed.
class Pin {
 public:
  Pin(GuardedState& state, Slot slot) : state_(&state), slot_(slot) {}
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin() {
    if (state_ == nullptr) return;
    const MutexLock lock(state_->mutex);
    state_->give_back(slot_);
  }
  // Ends the pin now, by a caller that holds the mutex already.
  void give_back(GuardedState& state) REQUIRES(state.mutex) {
    state.give_back(slot_);
    state_ = nullptr;
  }

 private:
  GuardedState* state_;
  const Slot slot_;
};

// Exists between a write-back and the flush that makes it durable (flush_ledger.hpp).
class FlushTicket {
 public:
  // Over a layer that is multi-conn, or if the cache does not make flushes durable, there is
  // nothing to wait for.
  FlushTicket(GuardedState& state, const Layer& below);
  FlushTicket(const FlushTicket&) = delete;
  FlushTicket& operator=(const FlushTicket&) = delete;
  ~FlushTicket();
  void wait_for_earlier() const;

 private:
  GuardedState& state_;
  std::optional<FlushLedger::Ticket> ticket_;
};

}  // namespace nbdstack
