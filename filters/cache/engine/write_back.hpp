// Writes from the cache to the layer below: dirty blocks (write_back.cpp) and ranges of zeros
// (write_back_zeros.cpp).
//
// Only content that the store has committed is written below (CacheLog::committed), so that no
// crash can bring back older content. After a failure it stays dirty. Over a durable store, clean
// content has to be durable below: otherwise the store could claim, after a crash, that the layer
// below has content which that has lost.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <semaphore>
#include <span>
#include <vector>

#include "common/block/layer.hpp"
#include "common/error.hpp"
#include "common/sync/worker_pool.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/write_back_plan.hpp"

namespace nbdstack {

// Neighbouring dirty blocks are one request of up to this size, or more if the layer below prefers
// larger blocks: large enough that latency matters little, small enough that a flush of a few MiB
// still uses several requests at once.
inline constexpr std::uint64_t kWriteBackGroup_bytes = 4ULL << 20U;

// The layer below counts as out of order, and the rest is not tried, after as many failures in a
// row as requests can be under way at once; or after two, if nothing has succeeded for
// CacheSettings::give_up_after: thousands of blocks that each fail after a minute take hours.
inline constexpr std::size_t kFailuresToGiveUp = 16;
inline constexpr std::size_t kFailuresToGiveUp_slow = 2;

// The longest request of data that write-backs send.
inline std::uint64_t longest_write_bytes(const LayerTraits& below) {
  std::uint64_t size = std::max<std::uint64_t>(kWriteBackGroup_bytes, below.preferred_block_size);
  if (below.maximum_block_size != 0) {
    size = std::min<std::uint64_t>(size, std::bit_floor(below.maximum_block_size));
  }
  return size;
}

// The right to have one more request of a write-back under way below.
class Turn {
 public:
  explicit Turn(std::counting_semaphore<>& turns) : turns_(turns) { turns_.acquire(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { turns_.release(); }

 private:
  std::counting_semaphore<>& turns_;
};

// One caller's write-back. GuardedState::mutex guards what several of its groups change at once.
struct WriteBack {
  Layer& below;
  Durability durability = Durability::on_flush;
  Range wanted;  // with FUA: the bytes that have to be durable
  // Other callers are writing these back, or changing them below.
  std::vector<BlockNumber> busy;
  std::vector<Range> busy_zeros;
  // Blocks with pages that a client has changed since they were committed. The caller wants these
  // changes below.
  std::vector<BlockNumber> changed;
  std::uint64_t durable_bytes = 0;    // of the blocks in `wanted`: sent by this caller
  std::size_t written = 0;            // groups and ranges of zeros
  std::size_t failures_in_a_row = 0;  // of groups and ranges of zeros
  TimePoint got_on_at = std::chrono::steady_clock::now();
  std::optional<Error> failure;  // the first one

  void succeeded() {
    ++written;
    failures_in_a_row = 0;
    got_on_at = std::chrono::steady_clock::now();
  }
  void failed(const Error& error) {
    ++failures_in_a_row;
    if (!failure) failure = error;
  }
  // Returns whether the rest is not worth trying.
  [[nodiscard]] bool is_given_up(Duration longest_silence) const {
    if (failures_in_a_row >= kFailuresToGiveUp) return true;
    return failures_in_a_row >= kFailuresToGiveUp_slow &&
           std::chrono::steady_clock::now() - got_on_at >= longest_silence;
  }
};

// Blocks that are written below together. From claim_group() to finish_group() their range is
// registered in GuardedState::changes_below, and they are pinned and `writing`.
struct WriteBackGroup {
  struct Block {
    Slot slot = kNoSlot;
    BlockNumber number;
    bool all_wanted = false;  // every page that has to be durable is among those sent
  };
  ChangesBelow::Place place;
  std::vector<Block> blocks;
  std::vector<BlockToWrite> pages;  // of `blocks`, as they were claimed
  std::vector<WriteRequest> requests;
  // The data of `requests`; null for zeros. It is allocated uninitialized: copy_group() fills in
  // what the cache has, and read_missing() the rest.
  std::vector<std::unique_ptr<std::byte[]>> data;
  std::vector<Range> failed;  // of `requests`
  bool all_failed = false;    // all of them failed, known or not
  std::optional<Error> failure;

  void fail(const Error& error) {
    all_failed = true;
    if (!failure) failure = error;
  }
};

class WriteBacks {
 public:
  // `threads` outlive this.
  WriteBacks(GuardedState& state, WorkerPool& threads)
      : state_(state),
        threads_(threads),
        turns_(static_cast<std::ptrdiff_t>(state.settings.threads)) {}

  // Ensures that all of `blocks` (sorted) and `zeros`, as they are now, are below. Throws the first
  // failure after trying all, or enough of them to show that the layer below does not work. The
  // caller owns no range of GuardedState::changes.
  void run(Layer& below, std::vector<BlockNumber> blocks, std::vector<Range> zeros,
           Durability durability = Durability::on_flush);
  // Write back what is dirty and not busy, without waiting and without throwing.
  void try_blocks(WriteBack& work, const std::vector<BlockNumber>& blocks);
  void try_zeros(WriteBack& work, const std::vector<Range>& ranges);
  void wait_until_not_busy(const Layer& below, const std::vector<BlockNumber>& blocks,
                           const std::vector<Range>& zeros);
  // The cache guarantees that a later flush on any connection covers content that is written below
  // outside of a flush. If the layer below does not guarantee that, it is flushed at once on the
  // connection that was used.
  void flush_connection(Layer& below) const;
  // Returns the number of write-backs so far: it grows as long as they make progress.
  [[nodiscard]] std::uint64_t done() const { return done_; }

 private:
  void run_unchanged(WriteBack& work, BlockNumber block);
  bool commit_for(WriteBack& work);
  // Ends the registration at `place`.
  void note_end(WriteBack& work, ChangesBelow::Place& place, const std::optional<Error>& failure)
      REQUIRES(state_.mutex);

  void run_group(WriteBack& work, std::span<const BlockNumber> blocks);
  bool claim_group(WriteBack& work, std::span<const BlockNumber> blocks, WriteBackGroup& group);
  void plan_group(const Layer& below, WriteBackGroup& group) const;
  void copy_group(WriteBackGroup& group);
  void end_copying(const WriteBackGroup& group);
  void send_group(Layer& below, WriteBackGroup& group, Durability durability);
  void finish_group(WriteBack& work, WriteBackGroup& group);

  void run_zeros(WriteBack& work, const Range& range);
  void zero_below(Layer& below, const Range& range, bool may_trim, Durability durability) const;
  // Returns FUA over a durable store.
  [[nodiscard]] Durability durability_of(Durability wanted) const {
    return state_.store->is_durable() ? Durability::fua : wanted;
  }

  GuardedState& state_;
  WorkerPool& threads_;
  std::counting_semaphore<> turns_;  // requests that may still begin
  std::atomic<std::uint64_t> done_ = 0;
};

}  // namespace nbdstack
