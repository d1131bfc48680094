#include "filters/cache/engine/make_room.hpp"

#include <algorithm>
#include <utility>

#include "common/log.hpp"

namespace nbdstack {
namespace {

// The number of blocks that one request frees while the cache is above its thresholds. It suffices
// to stay ahead of requests of a few blocks; later requests free the rest down to the low
// threshold, so that none of them takes long.
constexpr std::size_t kFreed_blocks = 64;

}  // namespace

std::optional<RoomMaker::Claimed> RoomMaker::claim(Layer& below, BlockNumber block) {
  const MutexLock lock(state_.mutex);
  while (true) {
    Slot slot = state_.find_verified(block);
    if (slot != kNoSlot && state_.residents[slot].copying) {
      state_.changed.wait(state_.mutex);
      continue;
    }
    if (slot == kNoSlot) {
      const auto taken = state_.residents.take_slot(block);
      if (!taken) {
        if (!wait_for_slot(below)) return std::nullopt;
        continue;
      }
      slot = *taken;
      state_.residents.adopt_zeros(slot);
    }
    state_.residents.pin(slot);
    state_.residents.touch(slot);
    return Claimed{slot, state_.residents.pages(slot)};
  }
}

void RoomMaker::free_some_now(Layer& below, bool may_write) {
  const MutexLock lock(state_.mutex);
  if (may_write && state_.residents.zeros().size() > Pressure::kMostZeroRanges) {
    const std::vector<Range> zeros = state_.residents.zeros_in(state_.whole_disk());
    const MutexUnlock unlocked(state_.mutex);
    const FlushTicket ticket(state_, below);
    WriteBack work{.below = below};
    write_backs_.try_zeros(work, zeros);
    flush_or_remember(work);
  }
  std::size_t wanted = std::min(
      kFreed_blocks,
      state_.pressure.blocks_to_free(state_.residents.occupied(), state_.residents.zeros().size()));
  if (wanted == 0) return;
  wanted -= state_.residents.evict(wanted);
  if (wanted > 0 && may_write && !state_.pressure.is_turn_taken()) {
    const std::vector<BlockNumber> dirty =
        state_.residents.next_to_evict(wanted, is_busy_over(below));
    if (!dirty.empty() && !write_back_some(below, dirty)) state_.residents.evict(wanted);
  }
  state_.discard_dropped();
  state_.changed.notify_all();
}

void RoomMaker::free_all(Layer& below) {
  const auto used = [this] {
    const MutexLock lock(state_.mutex);
    return state_.residents.occupied();
  };
  for (std::size_t before = used(); state_.is_pressed;) {
    free_some(below, true);
    const std::size_t after = used();
    if (after >= before) break;
    before = after;
  }
}

Residents::IsBusy RoomMaker::is_busy_over(const Layer& below) {
  const std::uint64_t preferred = below.traits().preferred_block_size;
  return [this, preferred](BlockNumber block) REQUIRES(state_.mutex) {
    return state_.changes_below.is_unit_busy(state_.geometry.range_of(block), preferred);
  };
}

// All slots belong to blocks that are dirty or in use. One request writes back; the others wait for
// its result, and all wait for blocks in use. That is short: a request that uses a block never
// waits for room. A durable store makes clean blocks reusable with its next commit.
bool RoomMaker::wait_for_slot(Layer& below) {
  bool committed = !state_.store->is_durable();
  while (true) {
    state_.discard_dropped();
    if (state_.residents.may_take_slot()) return true;
    if (state_.residents.is_empty()) return false;  // not one slot could be stored
    if (!std::exchange(committed, true)) {
      const MutexUnlock unlocked(state_.mutex);
      state_.commit();
      continue;
    }
    std::vector<BlockNumber> dirty;
    if (!state_.pressure.is_turn_taken()) {
      dirty = state_.residents.next_to_evict(kFreed_blocks, is_busy_over(below));
    }
    if (dirty.empty()) {
      if (!state_.pressure.is_turn_taken() && !state_.residents.room_may_come()) return false;
      state_.changed.wait(state_.mutex);
    } else if (write_back_some(below, dirty)) {
      return false;
    }
    committed = !state_.store->is_durable();
  }
}

// A flush that fails here is of blocks that count as clean already: the next flush of a client has
// to report it.
void RoomMaker::flush_or_remember(WriteBack& work) {
  if (work.written == 0) return;
  try {
    write_backs_.flush_connection(work.below);
  } catch (const Error& error) {
    log::error("cache: flush after blocks were written back to make room: {}", error.reason());
    const MutexLock lock(state_.mutex);
    state_.ledger.remember_failure(error);
  }
}

// Failed blocks stay dirty; the failure has been logged.
std::optional<Error> RoomMaker::write_back_some(Layer& below,
                                                const std::vector<BlockNumber>& blocks) {
  state_.pressure.take_turn();
  // Other callers wait for the end of this, so it must end in any case.
  struct End {
    GuardedState& state;
    ~End() {
      state.pressure.end_turn();
      state.changed.notify_all();
    }
  } const end{state_};
  const MutexUnlock unlocked(state_.mutex);
  const FlushTicket ticket(state_, below);
  WriteBack work{.below = below};
  try {
    write_backs_.try_blocks(work, blocks);
  } catch (const std::bad_alloc&) {
    work.failure = Error(ENOMEM, "cache: out of memory while making room");
  }
  flush_or_remember(work);
  if (work.failure) {
    fault_.failed(
        "cache: blocks could not be written back to make room; they stay in the cache: {}",
        work.failure->reason());
  } else {
    fault_.succeeded();
  }
  return work.written == 0 ? work.failure : std::nullopt;
}

// One writer at a time writes the oldest blocks back.
void RoomMaker::wait_for_dirty_room(Layer& below) {
  if (state_.settings.max_dirty_bytes == 0) return;
  const MutexLock lock(state_.mutex);
  bool said = false;
  while (state_.residents.dirty_bytes() >= state_.settings.max_dirty_bytes) {
    if (!std::exchange(said, true)) {
      log::debug("cache: {} bytes are dirty: a write waits until less than cache-max-dirty is",
                 state_.residents.dirty_bytes());
    }
    std::vector<BlockNumber> oldest;
    if (!state_.pressure.is_turn_taken()) {
      oldest = state_.residents.oldest_unwritten(kFreed_blocks, is_busy_over(below));
    }
    if (oldest.empty()) {
      state_.changed.wait(state_.mutex);
    } else if (const auto failure = write_back_some(below, oldest)) {
      throw Error::reported(failure->code());
    }
  }
}

// WriteBacks::run() may want to keep changes of the block away, and the caller is one of these.
void RoomMaker::write_back_in_the_way(Layer& below, BlockNumber block) {
  const FlushTicket ticket(state_, below);
  WriteBack work{.below = below};
  write_backs_.try_blocks(work, {block});
  write_backs_.flush_connection(below);
  if (work.failure) throw Error(*work.failure);
  write_backs_.wait_until_not_busy(below, work.busy, {});
}

}  // namespace nbdstack
