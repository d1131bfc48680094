// The cache of one export: blocks of a slow disk in a local store.
//
// All connections of an export share one BlockCache; each passes the layer below of its own
// connection with every call, and whatever a call does below happens before the call returns.
// What nobody waits for happens in background_step() (background.cpp).
//
// What holds at any time:
//  - `mutex_` is never held across the layer below or file I/O; who needs a slot's content meanwhile
//    pins it.
//  - A change of a page (a client's write, zero or trim, the storing of a fetch) owns the page in
//    `changes_` from before it looks at it until the table says so. Two changes of one page
//    therefore run one after the other; others run in parallel.
//  - A fill never overwrites anything: it stores only pages that are not valid when it owns them.
//  - Only what the store has committed goes below (CacheLog::committed).
//  - Nothing dirty is dropped to make room. When it can neither be written back nor stored (the
//    layer below fails, the cache's disk is full), writes pass through to the layer below, and the
//    client gets that write's own result.
//
// What is known lies in the parts (state/), which say what holds of them; each is synchronized by
// `mutex_`. What is done to them, step by step with I/O in between, is in the files named below; each
// calls only those above it:
//
//   block_cache.cpp       slots: pins, first uses, what is damaged
//   storage_pressure.cpp  commits, and a full disk of the cache's
//   write_back_zeros.cpp  ranges of zeros go below
//   write_back.cpp        dirty blocks go below
//   flush.cpp             what is below becomes durable
//   relief.cpp            room is made
//   fetch.cpp             reads; prefetch.cpp, extents.cpp
//   bypass.cpp            changes around the cache
//   write.cpp             writes; zero.cpp: zeros and trims
//   background.cpp        what nobody waits for
//
// Changes that go around the cache (bypass.hpp): every change in write-through mode, trims where
// the layer below has no zeros of its own, and writes that cannot be stored.
//
// Durability follows NBD: an acknowledged write is durable after a flush that was sent later and
// succeeded, or at once with FUA. In `unsafe` mode flush and FUA do nothing; dirty blocks go down
// only when the cache is full and when the server stops. With FlushTo::local durable means in the
// cache's own directory, and write-back follows in the background.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
#include <string>
#include <vector>

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "common/error.hpp"
#include "common/invariant.hpp"
#include "common/sync/mutex.hpp"
#include "common/sync/range_lock.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/state/changes_below.hpp"
#include "filters/cache/state/fetches.hpp"
#include "filters/cache/state/flush_ledger.hpp"
#include "filters/cache/state/pressure.hpp"
#include "filters/cache/state/residents.hpp"
#include "filters/cache/state/schedule.hpp"
#include "filters/cache/state/settings.hpp"
#include "filters/cache/store/slot_store.hpp"

namespace nbdstack {

class BlockCache {
 public:
  // `reads` and `writes` lend threads to requests that need several calls below at once, and
  // outlive the cache. Takes over what the store has recovered.
  BlockCache(const CacheSettings& settings, std::uint64_t size_bytes,
             std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes);

  [[nodiscard]] const BlockGeometry& geometry() const { return geometry_; }

  void read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset);
  // Loads a range for later. A hint: failure is logged and forgotten.
  void prefetch(Layer& below, const Range& range);

  void write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
             Durability durability);
  void zero(Layer& below, const Range& range, const ZeroOptions& options);
  void trim(Layer& below, const Range& range, Durability durability);
  void flush(Layer& below);
  void extents(Layer& below, const Range& range, bool only_one, ExtentList& extents);

  // Clients that may write come and go. client_left() says whether it was the last one.
  void client_came() { ++clients_; }
  [[nodiscard]] bool client_left() { return --clients_ == 0; }
  // The last client leaves: what was not flushed goes below now, or into the durable store.
  void settle_client(Layer& below);
  // Writes back everything dirty, whatever the mode: the server is about to go.
  void write_back_all(Layer& below);
  // The last call: leaves a durable store in good order.
  void close();

  // --- Background work (background.cpp) ---

  // Whether there is ever anything to do in the background with these settings.
  [[nodiscard]] bool needs_background() const;
  // Does what is due at `now` and says when to come back at the latest; wake_background() asks for
  // it to come earlier. A failed write-back is logged, and tried again after a growing delay.
  TimePoint background_step(Layer& below, TimePoint now);
  // Not before the pause after a failure is over. Until then only the part of a step that needs no
  // layer below is done.
  [[nodiscard]] bool may_work_below(TimePoint now) const;
  // The two parts of a step. The first may wait for a local disk: who has to know something of the
  // layer below before it is written finds it out between the two.
  TimePoint background_step_here(TimePoint now);
  TimePoint background_step_below(Layer& below, TimePoint now);
  // Whether a step has anything to do with the layer below, now or later. (What waits for a client's
  // flush is no work of the background's.)
  [[nodiscard]] bool has_work_below() const;
  // The step cannot run, because the layer below could not be opened.
  TimePoint background_could_not_open(TimePoint now, const Error& error);
  // Called whenever the next step should come at once. Set before the first request.
  void on_background_wanted(std::function<void()> wake) { wake_ = std::move(wake); }

  [[nodiscard]] std::uint64_t cached_bytes() const;
  // What the layer below does not have yet: pages, and ranges of zeros.
  [[nodiscard]] std::uint64_t unwritten_bytes() const;
  [[nodiscard]] bool has_unwritten() const;
  // How often something was written back: it grows as long as write-backs get on.
  [[nodiscard]] std::uint64_t write_backs_done() const { return write_backs_done_; }
  // Lets a test know that somebody has joined a fetch and waits for it.
  [[nodiscard]] std::size_t waiting_for_fetches() const;

 private:
  struct ReadPlan;
  class Bypass;
  class Pin;
  class Settling;

  // --- block_cache.cpp: slots ---
  // The slot of a block, or kNoSlot; verified, where it is the first use since recovery.
  [[nodiscard]] Slot find_verified(BlockNumber block) REQUIRES(mutex_);
  // Those of them that are clean are not cached any more.
  void forget_pages(Slot slot, PageMask touched) REQUIRES(mutex_);
  void discard_dropped() REQUIRES(mutex_);
  // The end of a pin.
  void give_back(Slot slot) REQUIRES(mutex_);
  // First use of a recovered block: sees whether its content is what was written. The mutex is
  // released meanwhile.
  void verify(Slot slot) REQUIRES(mutex_);
  void report_damaged(const Pages& before, const Range& range) const;
  void report_damage();

  // --- storage_pressure.cpp: the disk of the cache is full ---
  void storage_failed(const Error& error);
  // As the store's, but what stands in their way is removed as far as possible: clean blocks give
  // their storage back. What cannot be published then survives no kill, and that is all.
  void publish();
  void commit();
  bool give_back_room();
  // The slot's storage took what was written to it.
  void storage_worked(Slot slot) REQUIRES(mutex_);

  // --- fetch.cpp: reading and loading ---
  bool read_hit(const Range& range, std::span<std::byte> buffer);
  void read_planned(Layer& below, std::span<std::byte> buffer, std::uint64_t offset);
  void plan_read(ReadPlan& plan, const std::vector<BlockPiece>& pieces, bool store)
      REQUIRES(mutex_);
  void plan_piece(ReadPlan& plan, const BlockPiece& piece, bool store) REQUIRES(mutex_);
  std::shared_ptr<Fetch> join_or_start_fetch(BlockNumber block, bool store,
                                             Fetches::Started& started) REQUIRES(mutex_);
  void copy_cached(ReadPlan& plan, std::span<std::byte> buffer);
  void abandon(const ReadPlan& plan, int error_code) REQUIRES(mutex_);
  void give_back_all(ReadPlan& plan) REQUIRES(mutex_);
  // Gives back what a plan still has pinned, and ends the fetches that it has not run.
  class PlanInUse;
  void widen(const std::shared_ptr<Fetch>& fetch) REQUIRES(mutex_);
  void run_fetches(Layer& below, const Fetches::Started& fetches);
  void run_fetch(Layer& below, Fetch& fetch);
  void store_fetched(Fetch& fetch);
  void store_fetched_block(Fetch& fetch, BlockNumber block);
  // Part of a block, for who completes pages: from a fetch under way, or from below.
  void read_part(Layer& below, const Range& range, std::span<std::byte> buffer);

  // --- write.cpp, zero.cpp: changes ---
  enum class Stored : std::uint8_t {
    yes,
    elsewhere,   // the slot is no longer the block's: look again
    impossible,  // the cache's storage failed; the block has lost nothing
    once_clean,  // the same; it has to be written back before the change can go around the cache
  };
  void write_cached(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset);
  void write_piece(Layer& below, const BlockPiece& piece, std::span<const std::byte> data);
  void write_piece_around(Layer& below, const BlockPiece& piece, std::span<const std::byte> data);
  // A pinned slot of the block, new if need be. Nothing: the block cannot be cached.
  std::optional<Slot> claim(Layer& below, BlockNumber block) REQUIRES(mutex_);
  Stored store_piece(Layer& below, Slot slot, const Pages& before, const BlockPiece& piece,
                     std::span<const std::byte> data);
  Stored note_stored(Slot slot, const StoredPages& stored) REQUIRES(mutex_);
  Stored could_not_store(Slot slot, PageMask touched, bool intact, const Error& error)
      REQUIRES(mutex_);
  void forget_overwritten(Slot slot, PageMask touched) REQUIRES(mutex_);
  std::vector<std::byte> complete_pages(Layer& below, BlockPiece& piece,
                                        std::span<const std::byte> data, PageMask missing);
  void write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                    Durability durability);
  void zero_cached(Layer& below, const Range& range, bool may_trim);
  void zero_piece(Layer& below, const BlockPiece& piece, bool may_trim);
  void zero_pages(Layer& below, const BlockPiece& piece, PageMask covered, bool may_trim);
  void write_zeros(Layer& below, const BlockPiece& piece);
  void remember_zeros(Layer& below, const Range& blocks, bool may_trim);
  void zero_around(Layer& below, const Range& range, const ZeroOptions& options);
  void trim_around(Layer& below, const Range& range, Durability durability);
  [[nodiscard]] Range pages_covering(const Range& range) const;

  // --- write_back.cpp, write_back_zeros.cpp, flush.cpp: from the cache to the layer below ---
  struct WriteBack;
  struct WriteBackGroup;
  // Sees to it that all of `blocks` (sorted) and `zeros`, as they are now, are below; throws the
  // first failure after trying all, or so many that the layer below must be out of order.
  void write_back(Layer& below, std::vector<BlockNumber> blocks, std::vector<Range> zeros,
                  Durability durability);
  void wait_until_not_busy(const Layer& below, const std::vector<BlockNumber>& blocks,
                           const std::vector<Range>& zeros);
  void write_back_unchanged(WriteBack& work, BlockNumber block);
  // The same for what is plainly dirty, without waiting for anybody and without throwing.
  void write_back_dirty(WriteBack& work, const std::vector<BlockNumber>& blocks);
  void write_back_group(WriteBack& work, std::span<const BlockNumber> blocks);
  bool claim_group(WriteBack& work, std::span<const BlockNumber> blocks, WriteBackGroup& group);
  void plan_group(const Layer& below, WriteBackGroup& group) const;
  void copy_group(WriteBackGroup& group);
  void end_copying(const WriteBackGroup& group);
  static void fail_group(WriteBackGroup& group, const Error& error);
  void send_group(Layer& below, WriteBackGroup& group, Durability durability);
  void finish_group(WriteBack& work, WriteBackGroup& group);
  bool commit_for(WriteBack& work);
  void write_back_zeros(WriteBack& work, const std::vector<Range>& ranges);
  void write_back_zero_run(WriteBack& work, const Range& range);
  void zero_below(Layer& below, const Range& range, bool may_trim, Durability durability) const;
  void settle(Layer& below) const;
  // Whether what is committed counts as flushed (FlushTo::local).
  bool flushes_here();
  // Flushes it, if it can, whatever the cache itself has to do.
  void flush_below(Layer& below);
  void make_durable(Layer& below, const Range& range);
  void want_background();
  void report_background_failure();
  void forget_background_failure();

  // --- relief.cpp: making room ---
  // Frees some of the blocks that are to be evicted where the high threshold has been passed. Dirty
  // ones are written back first where `may_write`. Failures are logged and leave the blocks dirty.
  void relieve(Layer& below, bool may_write);
  // Waits until take_slot() may succeed. False: it will not, because nothing can be written back.
  bool make_room(Layer& below) REQUIRES(mutex_);
  void wait_for_dirty_room(Layer& below);
  void write_back_in_the_way(Layer& below, BlockNumber block);
  void settle_or_remember(WriteBack& work);
  [[nodiscard]] Residents::IsBusy is_busy_over(const Layer& below);
  // Writes them back; returns the failure where not one of them could be written.
  std::optional<Error> write_back_some(Layer& below, const std::vector<BlockNumber>& blocks)
      REQUIRES(mutex_);

  // --- background.cpp ---
  void write_back_due(Layer& below, TimePoint now);
  void drop_expired() REQUIRES(mutex_);
  void background_failed(TimePoint now, const Error& error) REQUIRES(mutex_);
  void relieve_all(Layer& below);

  void run_in_parallel(const Layer& below, WorkerPool& pool, std::size_t count,
                       const std::function<void(std::size_t)>& body);
  [[nodiscard]] Range blocks_covering(const Range& range) const;
  // What a request asks for, and what is asked of the layer below, lies on the disk.
  void expect_on_disk(const Range& range) const {
    INVARIANT(range.offset <= geometry_.size_bytes() &&
                  range.length <= geometry_.size_bytes() - range.offset,
              range.offset, range.length, geometry_.size_bytes());
  }
  void say(const char* what, BlockNumber block) const;

  const CacheSettings settings_;
  const BlockGeometry geometry_;
  const PageGeometry pages_;
  const std::unique_ptr<SlotStore> store_;
  WorkerPool& reads_;
  WorkerPool& writes_;
  RangeLock changes_;
  std::atomic<std::size_t> clients_ = 0;     // that may write
  std::counting_semaphore<> below_writers_;  // requests of write-backs that may begin
  std::function<void()> wake_ = [] {};

  mutable Mutex mutex_;
  // Some block changed its state, something below ended, or a slot became free.
  ConditionVariable changed_;
  Fetches fetches_ GUARDED_BY(mutex_);
  ChangesBelow changes_below_ GUARDED_BY(mutex_);
  Schedule schedule_ GUARDED_BY(mutex_);
  Pressure pressure_ GUARDED_BY(mutex_);
  Residents residents_ GUARDED_BY(mutex_);
  FlushLedger ledger_ GUARDED_BY(mutex_);
  ConditionVariable settled_;  // a ticket of the ledger was closed
  std::atomic<std::uint64_t> write_backs_done_ = 0;
  std::atomic<bool> directory_is_gone_ = false;  // and the log has said so
  const std::atomic<bool>& is_pressed_;  // relieve() has something to do; read without mutex_
};

// Gives a pinned slot back, whatever happens. Who declares it does not hold the mutex when it goes.
class BlockCache::Pin {
 public:
  Pin(BlockCache& cache, Slot slot) : cache_(&cache), slot_(slot) {}
  Pin(const Pin&) = delete;
  Pin& operator=(const Pin&) = delete;
  ~Pin() {
    if (cache_ == nullptr) return;
    const MutexLock lock(cache_->mutex_);
    cache_->give_back(slot_);
  }
  // Now, by who holds the mutex anyhow.
  void give_back(BlockCache& cache) REQUIRES(cache.mutex_) {
    cache.give_back(slot_);
    cache_ = nullptr;
  }

 private:
  BlockCache* cache_;
  const Slot slot_;
};

}  // namespace nbdstack
