// The cache of one export: blocks of a slow disk in a local file.
//
// All connections of an export share one BlockCache; each passes the layer below of its own
// connection with every call, and whatever a call does below happens before the call returns.
//
// What holds at any time:
//  - `mutex_` protects the table, the fetches and the bypasses. It is never held across the layer
//    below or file I/O; who needs a slot's content meanwhile pins it, who needs the block to stay
//    as it is below holds it (block_table.hpp).
//  - One fetch per block, however many wait for it; neighbouring missing blocks are one request.
//  - A fill never overwrites a newer write: a write that overtakes a fetch takes the block out of
//    it.
//  - Two changes (write, zero, trim) of overlapping bytes run one after the other, so that the
//    cache and the layer below see them in one order. Others run in parallel.
//  - Nobody waits while blocks are marked as being written back by him, so waiting for a block's
//    write-back always ends.
//  - Nothing dirty is dropped to make room. When it can neither be written back nor stored (the
//    layer below fails, the cache's disk is full), writes pass through to the layer below, and the
//    client gets that write's own result.
//
// Changes that go around the cache (bypass.hpp): zeros of large ranges, trims, every change in
// write-through mode, and writes that cannot be stored. While one is under way below, the blocks it
// touches are held, and nothing fetched meanwhile is kept. When it fails, what the layer below
// holds is unknown: clean blocks are forgotten, dirty ones stay to be written.
//
// Durability follows NBD: an acknowledged write is durable after a flush that was sent later and
// succeeded, or at once with FUA. In `unsafe` mode flush and FUA do nothing; dirty blocks go down
// only when the cache is full and when the server stops.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/block/layer.hpp"
#include "common/block/range.hpp"
#include "common/error.hpp"
#include "common/sync/range_lock.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/block_table.hpp"
#include "filters/cache/slot_file.hpp"

namespace nbdstack {

enum class CacheMode : std::uint8_t { writeback, writethrough, unsafe };

struct CacheSettings {
  CacheMode mode = CacheMode::writeback;
  std::uint32_t block_size = 64U << 10U;  // a power of two
  std::uint64_t max_size_bytes = 0;       // 0: as large as the disk
  // Of max_size_bytes: above the high one the least recently used blocks go, down to the low one.
  unsigned high_threshold_percent = 95;
  unsigned low_threshold_percent = 80;
  std::function<bool()> cache_on_read = [] { return false; };  // asked for each read
  std::string directory = "/var/tmp";
  bool verbose = false;  // a debug message for every block
};

class BlockCache {
 public:
  // `pool` lends threads to requests that need several calls below at once, and outlives the cache.
  BlockCache(const CacheSettings& settings, std::uint64_t size_bytes, WorkerPool& pool);

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

  // Writes back everything dirty, whatever the mode: the client, or the server, is about to go.
  void write_back_all(Layer& below);

  [[nodiscard]] std::uint64_t cached_bytes() const;
  [[nodiscard]] std::uint64_t unwritten_bytes() const;

 private:
  using Lock = std::unique_lock<std::mutex>;  // passed as proof that mutex_ is held
  struct Fetch;
  struct ReadPlan;
  class Bypass;

  // --- block_cache.cpp: slots ---
  static Slot slots_for(const CacheSettings& settings);
  [[nodiscard]] std::uint64_t capacity_bytes() const;
  [[nodiscard]] std::optional<Slot> take_slot(Lock& lock, BlockNumber block);
  [[nodiscard]] Slot oldest_evictable(Lock& lock) const;
  void evict(Lock& lock, Slot slot);
  void give_back(Lock& lock, Slot slot);
  void fill_slot(Lock& lock, Slot slot, std::span<const std::byte> data);
  void storage_failed(const Error& error);

  // --- fetch.cpp: reading and loading ---
  ReadPlan plan_read(Lock& lock, const std::vector<BlockPiece>& pieces, bool store);
  std::shared_ptr<Fetch> join_or_start_fetch(Lock& lock, BlockNumber block, bool store,
                                             std::vector<std::shared_ptr<Fetch>>& started);
  void copy_cached(ReadPlan& plan, std::span<std::byte> buffer);
  void run_fetches(Layer& below, const std::vector<std::shared_ptr<Fetch>>& fetches);
  void run_fetch(Layer& below, Fetch& fetch);
  void store_fetched(Fetch& fetch);
  void finish_fetch(Lock& lock, Fetch& fetch);
  void wait_for(Lock& lock, Fetch& fetch);
  void wait_until_stored(Lock& lock, const BlockPiece& piece);
  void supersede_fetches(Lock& lock, const Range& range);

  // --- write.cpp: changes ---
  void write_cached(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset);
  void write_piece(Layer& below, const BlockPiece& piece, std::span<const std::byte> data);
  std::optional<Slot> claim_for_write(Layer& below, const BlockPiece& piece);
  bool load_for_write(Lock& lock, Layer& below, BlockNumber block);
  enum class Stored : std::uint8_t {
    yes,
    elsewhere,   // the slot is no longer the block's: look again
    impossible,  // the cache's file failed; the block is absent
  };
  Stored store_piece(Slot slot, const BlockPiece& piece, std::span<const std::byte> data);
  void write_zeros_cached(Layer& below, const Range& range);
  void write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                    Durability durability);
  void zero_around(Layer& below, const Range& range, const ZeroOptions& options);
  [[nodiscard]] Range range_to_zero_below(const Layer& below, const Range& range) const;
  void settle(Layer& below) const;

  // --- write_back.cpp: from the cache to the layer below ---
  struct WriteBack;
  struct WriteBackRun;
  // Those from `first` to before `end`, sorted.
  [[nodiscard]] std::vector<BlockNumber> unwritten_blocks(Lock& lock, BlockNumber first,
                                                          BlockNumber end) const;
  // Sees to it that all of `blocks` (sorted), as they are now, are below; throws the first failure
  // after trying all, or so many that the layer below must be out of order.
  void write_back(Layer& below, std::vector<BlockNumber> blocks, Durability durability);
  // The same for those that are plainly dirty, without waiting for anybody and without throwing.
  void write_back_dirty(WriteBack& work, const std::vector<BlockNumber>& blocks);
  void write_back_group(WriteBack& work, std::span<const BlockNumber> group);
  WriteBackRun claim_run(WriteBack& work, std::span<const BlockNumber>& group);
  void finish_run(WriteBack& work, const WriteBackRun& run, const std::optional<Error>& failure);
  [[nodiscard]] bool is_busy(const Lock& lock, Slot slot) const;
  void make_durable(Layer& below, const std::vector<Range>& ranges);

  // --- relief.cpp: making room ---
  // Frees some of the least recently used blocks where the high threshold has been passed. Dirty
  // ones are written back first where `may_write`. Failures are logged and leave the blocks dirty.
  void relieve(Layer& below, bool may_write);
  // Waits until take_slot() may succeed. False: it will not, because nothing can be written back.
  bool make_room(Lock& lock, Layer& below);
  std::size_t evict_oldest(Lock& lock, std::size_t count);
  [[nodiscard]] std::vector<BlockNumber> oldest_dirty(Lock& lock, std::size_t count) const;
  bool write_back_some(Lock& lock, Layer& below, const std::vector<BlockNumber>& blocks);

  void run_in_parallel(const Layer& below, std::size_t count,
                       const std::function<void(std::size_t)>& body);
  [[nodiscard]] Range blocks_covering(const Range& range) const;
  void say(const char* what, BlockNumber block) const;

  const CacheSettings settings_;
  const BlockGeometry geometry_;
  const SlotFile file_;
  WorkerPool& pool_;
  RangeLock changes_;  // orders changes of overlapping bytes

  mutable std::mutex mutex_;  // protects everything below
  // Some block changed its state, lost a hold, or a slot became free.
  std::condition_variable changed_;
  BlockTable table_;
  Slot high_slots_;
  Slot low_slots_;
  bool relieving_ = false;  // between the high threshold and the low one
  bool evicting_ = false;   // one at a time writes back to make room
  std::unordered_map<BlockNumber, std::shared_ptr<Fetch>> fetches_;  // those that may be joined
  std::list<Range> bypasses_;                                        // under way below
};

}  // namespace nbdstack
