// Client changes: writes (writes.cpp), zeros and trims (zero.cpp).
//
// Changes bypass the cache (bypass.hpp) in write-through mode; so do trims if the layer below has
// no native zeros, and writes that cannot be stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "common/block/layer.hpp"
#include "filters/cache/engine/bypass.hpp"
#include "filters/cache/engine/flush.hpp"
#include "filters/cache/engine/guarded_state.hpp"
#include "filters/cache/engine/make_room.hpp"
#include "filters/cache/engine/reads.hpp"
#include "filters/cache/engine/write_back.hpp"

namespace nbdstack {

class Writes {
 public:
  Writes(GuardedState& state, WriteBacks& write_backs, RoomMaker& room, Reads& reads,
         Flushes& flushes)
      : state_(state), write_backs_(write_backs), room_(room), reads_(reads), flushes_(flushes) {}

  void write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
             Durability durability);
  void zero(Layer& below, const Range& range, const ZeroOptions& options);
  void trim(Layer& below, const Range& range, Durability durability);

 private:
  enum class Stored : std::uint8_t {
    yes,
    elsewhere,   // the slot is no longer the block's: find it again
    impossible,  // the cache's storage failed; the block has lost nothing
    once_clean,  // likewise, but it must be written back before the change may bypass the cache
  };
  void write_cached(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset);
  void write_piece(Layer& below, const BlockPiece& piece, std::span<const std::byte> data);
  Stored store_piece(Layer& below, const RoomMaker::Claimed& claimed, const BlockPiece& piece,
                     std::span<const std::byte> data);
  Stored note_stored(Slot slot, const WriteReceipt& stored) REQUIRES(state_.mutex);
  Stored could_not_store(Slot slot, PageMask touched, bool intact, const Error& error)
      REQUIRES(state_.mutex);
  void forget_overwritten(Slot slot, PageMask touched) REQUIRES(state_.mutex);
  std::vector<std::byte> complete_pages(Layer& below, BlockPiece& piece,
                                        std::span<const std::byte> data, PageMask missing);

  void zero_cached(Layer& below, const Range& range, bool may_trim);
  void zero_piece(Layer& below, const BlockPiece& piece, bool may_trim);
  void zero_pages(Layer& below, const BlockPiece& piece, PageMask covered, bool may_trim);
  void write_zeros(Layer& below, const BlockPiece& piece);
  void remember_zeros(Layer& below, const Range& blocks, bool may_trim);

  void write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                    Durability durability);
  void write_piece_around(Layer& below, const BlockPiece& piece, std::span<const std::byte> data);
  // Makes the change below, and then applies it to the cached blocks. A change that may be refused,
  // with ENOTSUP, has changed nothing then.
  void change_around(Layer& below, const Range& range, Durability durability,
                     const std::function<void(Durability)>& change,
                     const std::function<void(Bypass&)>& apply, bool may_be_refused = false);

  GuardedState& state_;
  WriteBacks& write_backs_;
  RoomMaker& room_;
  Reads& reads_;
  Flushes& flushes_;
};

}  // namespace nbdstack
