// The cache of one export: blocks of a slow disk in a local store.
//
// All connections of an export share one BlockCache. Each passes the layer below of its own
// connection with every call, and whatever a call does below happens before the call returns.
// background() does the work that no request waits for.
//
// It owns the state with its mutex. Each operation on the state, step by step with I/O in between,
// is a class, and each class calls only those above it.
//
//   GuardedState  the state, the mutex and the store; slots, commits, a full disk of the cache's
//   WriteBacks    writes dirty blocks and ranges of zeros below
//   Flushes       makes durable what is below
//   RoomMaker     gets slots for more blocks
//   Reads         reads and prefetches
//   Writes        writes, zeros and trims; Bypass: changes around the cache
//   Background    the work that no request waits for
//
// Durability follows NBD: an acknowledged write is durable after a flush that was sent later and
// succeeded, or at once with FUA. In `unsafe` mode flush and FUA do nothing; dirty blocks are
// written below only when the cache is full and when the server stops. With FlushTo::local durable
// means in the cache's own directory, and write-back follows in the background.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "common/block/extents.hpp"
#include "common/block/layer.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/engine/background.hpp"
#include "filters/cache/engine/flush.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/make_room.hpp"
#include "filters/cache/engine/reads.hpp"
#include "filters/cache/engine/write_back.hpp"
#include "filters/cache/engine/writes.hpp"

namespace nbdstack {

// The counts and the content of a cache, for metrics.
struct CacheFigures {
  ReadCounts reads;
  std::uint64_t evictions = 0;
  std::uint64_t cached_bytes = 0;
  std::uint64_t limit_bytes = 0;  // 0: as large as the disk
  std::uint64_t unwritten_bytes = 0;
  std::optional<TimePoint>
      oldest_dirty;  // when it became dirty, to the second or to 1/8 of write_delay
};

class BlockCache {
 public:
  // `reads` and `writes` lend threads to requests that need several calls below at once, and
  // outlive the cache. Takes over the recovered content of the store.
  BlockCache(const CacheSettings& settings, std::uint64_t size_bytes,
             std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes)
      : state_(settings, size_bytes, std::move(store)),
        write_backs_(state_, writes),
        reads_(state_, reads) {}

  [[nodiscard]] const BlockGeometry& geometry() const { return state_.geometry; }

  void read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
    reads_.read(below, buffer, offset);
    room_.free_some(below, false);
  }
  // Loads a range for later. This is a hint: a failure is logged, and not reported.
  void prefetch(Layer& below, const Range& range) {
    reads_.prefetch(below, range);
    room_.free_some(below, false);
  }
  void write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
             Durability durability) {
    writes_.write(below, buffer, offset, durability);
    room_.free_some(below, true);
  }
  void zero(Layer& below, const Range& range, const ZeroOptions& options) {
    writes_.zero(below, range, options);
    room_.free_some(below, true);
  }
  void trim(Layer& below, const Range& range, Durability durability) {
    writes_.trim(below, range, durability);
    room_.free_some(below, true);
  }
  void flush(Layer& below) { flushes_.flush(below); }
  void extents(Layer& below, const Range& range, bool only_one, ExtentList& extents);

  // Called for clients that may write. client_left() returns whether it was the last one.
  void client_came() { ++clients_; }
  [[nodiscard]] bool client_left() { return --clients_ == 0; }
  // Writes unflushed content below now, or into the durable store.
  void last_client_left(Layer& below) { flushes_.last_client_left(below); }
  // Writes back everything dirty, whatever the mode, because the server is about to stop.
  void write_back_all(Layer& below) { flushes_.write_back_all(below); }
  // The last call: leaves a durable store in good order.
  void close();

  [[nodiscard]] Background& background() { return background_; }
  // `wake` is called whenever the next background step should run at once. Set before the first
  // request.
  void on_background_wanted(std::function<void()> wake) {
    state_.wake_background = std::move(wake);
  }

  // `now` is the present time of the clock by which the background works.
  [[nodiscard]] CacheFigures figures(TimePoint now) {
    const MutexLock lock(state_.mutex);
    state_.schedule.advance(now);
    return {.reads = state_.read_counts,
            .evictions = state_.residents.evictions(),
            .cached_bytes = state_.residents.cached_bytes(),
            .limit_bytes = state_.settings.max_size_bytes,
            .unwritten_bytes = state_.residents.unwritten_bytes(),
            .oldest_dirty = state_.residents.oldest_unwritten_since()};
  }
  [[nodiscard]] std::uint64_t cached_bytes() const {
    const MutexLock lock(state_.mutex);
    return state_.residents.cached_bytes();
  }
  // Returns the bytes that the layer below does not have yet: of pages, and of ranges of zeros.
  [[nodiscard]] std::uint64_t unwritten_bytes() const {
    const MutexLock lock(state_.mutex);
    return state_.residents.unwritten_bytes();
  }
  [[nodiscard]] bool has_unwritten() const {
    const MutexLock lock(state_.mutex);
    return state_.residents.has_unwritten();
  }
  // Returns the number of write-backs so far: it grows as long as they make progress.
  [[nodiscard]] std::uint64_t write_backs_done() const { return write_backs_.done(); }
  // For tests: returns the number of callers that have joined a fetch and wait for it.
  [[nodiscard]] std::size_t waiting_for_fetches() const {
    const MutexLock lock(state_.mutex);
    return state_.fetches.waiting();
  }

 private:
  GuardedState state_;
  WriteBacks write_backs_;
  Flushes flushes_{state_, write_backs_};
  RoomMaker room_{state_, write_backs_};
  Reads reads_;
  Writes writes_{state_, write_backs_, room_, reads_, flushes_};
  Background background_{state_, write_backs_, room_, flushes_};
  std::atomic<std::size_t> clients_ = 0;  // that may write
};

}  // namespace nbdstack
