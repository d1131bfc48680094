// The records of a write-back while it runs, and its bounds (write_back.cpp, write_back_zeros.cpp,
// flush.cpp, relief.cpp).
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <semaphore>
#include <vector>

#include "common/error.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/engine/write_plan.hpp"

namespace nbdstack {

// Neighbouring dirty blocks go down as one request of up to this size; more where the layer below
// prefers larger blocks. Large enough that latency matters little, small enough that a flush of a
// few MiB still uses several requests at once.
inline constexpr std::uint64_t kWriteBackGroup_bytes = 4ULL << 20U;

// After as many failures in a row as requests can be under way at once, the layer below is taken to
// be out of order, and the rest is not tried; and after two, where nothing has succeeded for
// CacheSettings::give_up_after: thousands of blocks, each failing after a minute, are hours.
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

// A write-back that has not been flushed below yet (flush_ledger.hpp).
class BlockCache::Settling {
 public:
  // Over a layer that is multi-conn, or where the cache promises nothing of the kind, there is
  // nothing to wait for.
  Settling(BlockCache& cache, const Layer& below) : cache_(cache) {
    if (!cache.settings_.makes_flushes_durable() || below.traits().can_multi_conn) return;
    const MutexLock lock(cache.mutex_);
    ticket_ = cache.ledger_.open();
  }
  Settling(const Settling&) = delete;
  Settling& operator=(const Settling&) = delete;
  ~Settling() {
    if (!ticket_) return;
    const MutexLock lock(cache_.mutex_);
    cache_.ledger_.close(*ticket_);
    cache_.settled_.notify_all();
  }
  void wait_for_earlier() const {
    if (!ticket_) return;
    const MutexLock lock(cache_.mutex_);
    while (!cache_.ledger_.is_oldest(*ticket_)) cache_.settled_.wait(cache_.mutex_);
  }

 private:
  BlockCache& cache_;
  std::optional<FlushLedger::Ticket> ticket_;
};

// One caller's write-back. What several of its groups change at once is protected by
// BlockCache::mutex_.
struct BlockCache::WriteBack {
  Layer& below;
  Durability durability = Durability::on_flush;
  Range wanted;  // with FUA: the bytes that have to be durable
  // Somebody else is writing these back, or changing them below.
  std::vector<BlockNumber> busy;
  std::vector<Range> busy_zeros;
  // Have pages that a client has changed since they were committed, which is what the caller wants
  // below.
  std::vector<BlockNumber> changed;
  std::uint64_t durable_bytes = 0;    // of the blocks in `wanted`: sent by us, and nobody else
  std::size_t written = 0;            // groups and ranges of zeros
  std::size_t failures_in_a_row = 0;  // the same
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
  // Whether the rest is not worth trying.
  [[nodiscard]] bool is_given_up(Duration longest_silence) const {
    if (failures_in_a_row >= kFailuresToGiveUp) return true;
    return failures_in_a_row >= kFailuresToGiveUp_slow &&
           std::chrono::steady_clock::now() - got_on_at >= longest_silence;
  }
};

// Blocks that go below together. From claim_group() to finish_group() their range is registered in
// BlockCache::changes_below_, and they are pinned and `writing`.
struct BlockCache::WriteBackGroup {
  struct Block {
    Slot slot = kNoSlot;
    BlockNumber number;
    bool all_wanted = false;  // every page that has to be durable is among those sent
  };
  ChangesBelow::Place place;
  std::vector<Block> blocks;
  std::vector<BlockToWrite> pages;  // of `blocks`, as they were claimed
  std::vector<WriteRequest> requests;
  // Of `requests`; nothing for zeros. Allocated without a value: copy_group() fills what the cache
  // knows, and read_missing() the rest.
  std::vector<std::unique_ptr<std::byte[]>> data;
  std::vector<Range> failed;  // of `requests`
  bool all_failed = false;    // the same for all of them, known or not
  std::optional<Error> failure;

  // Makes room for that many blocks.
  void reserve(std::size_t count);
};

}  // namespace nbdstack
