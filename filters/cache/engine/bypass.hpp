// A change of a range that happens in the layer below, around the cache.
#pragma once

#include <span>
#include <vector>

#include "common/block/layer.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

// From construction to destruction the cached blocks of the range are pinned, no write-back of them
// is under way or begins, and nothing that is fetched from below is shared or stored. The owner
// owns the range in GuardedState::changes, so no other change of the same bytes runs.
//
// After a crash a durable store must not bring back clean content that the change has replaced
// below: such blocks leave the cache, durably, before the change begins. A block may have left it
// earlier, or be dirty now, and still be clean in the last commit: so there is always a commit.
class Bypass {
 public:
  // Remembered zeros of these blocks are written below first; throws if that fails.
  Bypass(GuardedState& state, WriteBacks& write_backs, Layer& below, const Range& range);
  Bypass(const Bypass&) = delete;
  Bypass& operator=(const Bypass&) = delete;
  ~Bypass();

  // Called if the change failed, so that the content below is unknown. Clean pages are forgotten;
  // dirty ones will be written.
  void forget_clean();
  // Called if the change succeeded: applies it to the cached content. Whole blocks are dropped, and
  // parts of blocks become zeros.
  void apply_zeros();
  // As apply_zeros(), for a trim, after which the content is unspecified: whole blocks are dropped.
  void drop_whole_blocks();
  // As apply_zeros(), for a write: parts and whole blocks alike take the data that went below.
  void apply_data(std::span<const std::byte> data);
  // Keeps a durable store from writing dirty content of before the change over it after a crash.
  // Called last, before the change is acknowledged.
  void commit();

 private:
  Bypass(GuardedState& state, const Range& range) : state_(state), range_(range) {}
  void forget_clean_pages(Slot slot) REQUIRES(state_.mutex);
  void forget_durably();
  void write_slot(Slot slot, const BlockPiece& piece, std::span<const std::byte> data);
  bool write_part(Slot slot, std::span<const std::byte> data, std::uint32_t offset_in_block,
                  PageMask stored_before, bool dirty);

  GuardedState& state_;
  const Range range_;
  ChangesBelow::Place place_;
  std::vector<Slot> held_;
  bool held_dirty_ = false;  // some of them had something to be written back
};

}  // namespace nbdstack
