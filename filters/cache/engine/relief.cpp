#include <algorithm>

#include "common/log.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {
namespace {

// How many blocks one request frees on its way while the cache is above its thresholds. Enough to
// stay ahead of requests of a few blocks; the rest of the way down to the low threshold is left to
// later requests, so that none of them takes long.
constexpr std::size_t kReliefBlocks = 64;

}  // namespace

void BlockCache::relieve(Layer& below, bool may_write) {
  if (!is_pressed_) return;
  const MutexLock lock(mutex_);
  if (may_write && residents_.zeros().size() > Pressure::kMostZeroRanges) {
    const std::vector<Range> zeros = residents_.zeros_in({0, geometry_.size_bytes()});
    const MutexUnlock unlocked(mutex_);
    const Settling settling(*this, below);
    WriteBack work{.below = below};
    write_back_zeros(work, zeros);
    settle_or_remember(work);
  }
  std::size_t wanted = std::min(
      kReliefBlocks, pressure_.blocks_to_free(residents_.occupied(), residents_.zeros().size()));
  if (wanted == 0) return;
  wanted -= residents_.evict(wanted);
  if (wanted > 0 && may_write && !pressure_.is_turn_taken()) {
    const std::vector<BlockNumber> dirty = residents_.next_to_evict(wanted, is_busy_over(below));
    if (!dirty.empty() && !write_back_some(below, dirty)) residents_.evict(wanted);
  }
  discard_dropped();
  changed_.notify_all();
}

Residents::IsBusy BlockCache::is_busy_over(const Layer& below) {
  const std::uint64_t preferred = below.traits().preferred_block_size;
  return [this, preferred](BlockNumber block) REQUIRES(mutex_) {
    return changes_below_.is_unit_busy(geometry_.range_of(block), preferred);
  };
}

// All slots are taken by blocks that are dirty or in use. One request writes back; the others wait
// for what it achieves, and everybody waits for blocks in use, which is over soon: whoever uses one
// never waits for room. A durable store gives clean blocks free with its next commit.
bool BlockCache::make_room(Layer& below) {
  bool committed = !store_->is_durable();
  while (true) {
    discard_dropped();
    if (residents_.may_take_slot()) return true;
    if (residents_.is_empty()) return false;  // not one slot could be stored
    if (!std::exchange(committed, true)) {
      const MutexUnlock unlocked(mutex_);
      commit();
      continue;
    }
    std::vector<BlockNumber> dirty;
    if (!pressure_.is_turn_taken()) {
      dirty = residents_.next_to_evict(kReliefBlocks, is_busy_over(below));
    }
    if (dirty.empty()) {
      if (!pressure_.is_turn_taken() && !residents_.room_may_come()) return false;
      changed_.wait(mutex_);
    } else if (write_back_some(below, dirty)) {
      return false;
    }
    committed = !store_->is_durable();
  }
}

// A flush that fails here belongs to blocks that count as clean already: the next flush of a client
// has to say so.
void BlockCache::settle_or_remember(WriteBack& work) {
  if (work.written == 0) return;
  try {
    settle(work.below);
  } catch (const Error& error) {
    log::error("cache: flush after blocks were written back to make room: {}",
               error.is_reported() ? "the plugin has reported the failure" : error.what());
    const MutexLock lock(mutex_);
    ledger_.remember_failure(error);
  }
}

// What fails stays dirty; the failure has been logged.
std::optional<Error> BlockCache::write_back_some(Layer& below,
                                                 const std::vector<BlockNumber>& blocks) {
  pressure_.take_turn();
  // Others wait for the end of this, whatever that is.
  struct End {
    BlockCache& cache;
    ~End() {
      cache.pressure_.end_turn();
      cache.changed_.notify_all();
    }
  } const end{*this};
  const MutexUnlock unlocked(mutex_);
  const Settling settling(*this, below);
  WriteBack work{.below = below};
  try {
    write_back_dirty(work, blocks);
  } catch (const std::bad_alloc&) {
    work.failure = Error(ENOMEM, "cache: out of memory while making room");
  }
  settle_or_remember(work);
  if (work.failure) {
    log::error(
        "cache: of {} blocks that make room, some could not be written back; they stay in the "
        "cache: {}",
        blocks.size(),
        work.failure->is_reported() ? "the plugin has reported why" : work.failure->what());
  }
  return work.written == 0 ? work.failure : std::nullopt;
}

// Writers wait rather than fill the cache with dirty blocks. One of them at a time writes the
// oldest back.
void BlockCache::wait_for_dirty_room(Layer& below) {
  if (settings_.max_dirty_bytes == 0) return;
  const MutexLock lock(mutex_);
  bool said = false;
  while (residents_.dirty_bytes() >= settings_.max_dirty_bytes) {
    if (!std::exchange(said, true)) {
      log::debug("cache: {} bytes are dirty: a write waits until less than cache-max-dirty is",
                 residents_.dirty_bytes());
    }
    std::vector<BlockNumber> oldest;
    if (!pressure_.is_turn_taken()) {
      oldest = residents_.oldest_unwritten(kReliefBlocks, is_busy_over(below));
    }
    if (oldest.empty()) {
      changed_.wait(mutex_);
    } else if (const auto failure = write_back_some(below, oldest)) {
      throw Error::reported(failure->code());
    }
  }
}

// The disk of the cache is full, and a change that is to go around the cache would be overtaken by
// what is dirty in its block. Not write_back(): that may want to keep changes of the block away, and the caller is one.
void BlockCache::write_back_in_the_way(Layer& below, BlockNumber block) {
  const Settling settling(*this, below);
  WriteBack work{.below = below};
  write_back_dirty(work, {block});
  settle(below);
  if (work.failure) throw Error(*work.failure);
  wait_until_not_busy(below, work.busy, {});
}

}  // namespace nbdstack
