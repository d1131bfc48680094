// Makes room for more blocks: evicts, writes back to evict, and lets writers wait.
//
// Dirty content is never dropped to make room. If it can neither be written back nor stored (the
// layer below fails, the cache's disk is full), writes pass through to the layer below, and the
// client receives that write's own result.
#pragma once

#include <optional>
#include <vector>

#include "common/block/layer.hpp"
#include "common/fault/fault.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

class RoomMaker {
 public:
  RoomMaker(GuardedState& state, WriteBacks& write_backs)
      : state_(state), write_backs_(write_backs) {}

  struct Claimed {
    Slot slot = kNoSlot;  // pinned
    Pages pages;          // when it was claimed
  };
  // Returns the slot of the block, a new one if necessary, or nothing if the block cannot be
  // cached. The caller owns the part of the block that it is going to change.
  std::optional<Claimed> claim(Layer& below, BlockNumber block);
  // Frees some blocks if the high threshold is exceeded. Dirty ones are written back first if
  // `may_write`. Failures are logged and leave the blocks dirty.
  void free_some(Layer& below, bool may_write) {
    if (state_.is_pressed) free_some_now(below, may_write);
  }
  // Shrinks a cache that was made smaller between two runs, without waiting for requests.
  void free_all(Layer& below);
  // Lets writers wait, so that they do not fill the cache with dirty blocks.
  void wait_for_dirty_room(Layer& below);
  // Called if the disk of the cache is full, and a change must bypass the cache: dirty content of
  // its block would overwrite the change later, and so is written back first.
  void write_back_in_the_way(Layer& below, BlockNumber block);

 private:
  void free_some_now(Layer& below, bool may_write);
  // Waits until Residents::take_slot() may succeed. Returns false if it will not, because nothing
  // can be written back.
  bool wait_for_slot(Layer& below) REQUIRES(state_.mutex);
  [[nodiscard]] Residents::IsBusy is_busy_over(const Layer& below);
  void flush_or_remember(WriteBack& work);
  // Returns the failure if none of them could be written.
  std::optional<Error> write_back_some(Layer& below, const std::vector<BlockNumber>& blocks)
      REQUIRES(state_.mutex);

  GuardedState& state_;
  WriteBacks& write_backs_;
  Fault fault_{"write-backs to make room"};
};

}  // namespace nbdstack
