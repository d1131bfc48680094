// Room for more blocks: what is evicted, what is written back for it, and who waits.
//
// Nothing dirty is dropped to make room. When it can neither be written back nor stored (the layer
// below fails, the cache's disk is full), writes pass through to the layer below, and the client
// gets that write's own result.
#pragma once

#include <optional>
#include <vector>

#include "common/block/layer.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

class RoomMaker {
 public:
  RoomMaker(GuardedState& state, WriteBacks& write_backs)
      : state_(state), write_backs_(write_backs) {}

  struct Claimed {
    Slot slot = kNoSlot;  // pinned
    Pages pages;          // as they are then
  };
  // The slot of the block, new if need be. Nothing: the block cannot be cached. The caller owns what
  // it is going to change of the block.
  std::optional<Claimed> claim(Layer& below, BlockNumber block);
  // Frees some of the blocks that are to be evicted where the high threshold has been passed. Dirty
  // ones are written back first where `may_write`. Failures are logged and leave the blocks dirty.
  void free_some(Layer& below, bool may_write) {
    if (state_.is_pressed) free_some_now(below, may_write);
  }
  // A cache that was made smaller between two runs is brought down without waiting for requests.
  void free_all(Layer& below);
  // Writers wait rather than fill the cache with dirty blocks.
  void wait_for_dirty_room(Layer& below);
  // The disk of the cache is full, and a change that is to go around the cache would be overtaken by
  // what is dirty in its block.
  void write_back_in_the_way(Layer& below, BlockNumber block);

 private:
  void free_some_now(Layer& below, bool may_write);
  // Waits until Residents::take_slot() may succeed. Returns false if it will not, because nothing
  // can be written back.
  bool wait_for_slot(Layer& below) REQUIRES(state_.mutex);
  [[nodiscard]] Residents::IsBusy is_busy_over(const Layer& below);
  void flush_or_remember(WriteBack& work);
  // Returns the failure where not one of them could be written.
  std::optional<Error> write_back_some(Layer& below, const std::vector<BlockNumber>& blocks)
      REQUIRES(state_.mutex);

  GuardedState& state_;
  WriteBacks& write_backs_;
};

}  // namespace nbdstack
