// Zeros and trims.
//
// In the cached modes they cost no storage and no request: whole blocks become ranges of zeros,
// pages become marks in the table, and both are zeroed below later (or not at all if they are
// overwritten before). Only the part of a page is written as data.
#include <vector>

#include "common/error.hpp"
#include "filters/cache/engine/writes.hpp"

namespace nbdstack {
namespace {

Range aligned_inside(const Range& range, std::uint64_t alignment, std::uint64_t disk_size) {
  const std::uint64_t first = (range.offset + alignment - 1) / alignment * alignment;
  const std::uint64_t last =
      range.end() == disk_size ? disk_size : range.end() / alignment * alignment;
  return first < last ? Range{first, last - first} : Range{range.offset, 0};
}

}  // namespace

// Refuses a fast zero that would be a write like any other, because it covers no whole page.
void Writes::zero(Layer& below, const Range& range, const ZeroOptions& options) {
  state_.expect_on_disk(range);
  ZeroOptions wanted = options;
  if (state_.settings.ignores_flushes()) wanted.durability = Durability::on_flush;
  if (state_.settings.writes_through()) {
    const RangeLock::Guard changing(state_.changes, state_.pages_covering(range));
    const auto zero = [&](Durability fua) {
      wanted.durability = fua;
      below.zero(range.length, range.offset, wanted);
    };
    const auto apply = [](Bypass& bypass) { bypass.apply_zeros(); };
    change_around(below, range, wanted.durability, zero, apply, wanted.fast);
  } else {
    if (wanted.fast &&
        aligned_inside(range, state_.pages.page_size(), state_.geometry.size_bytes()).empty()) {
      throw Error(ENOTSUP, "cache: a zero of less than a page is not faster than a write");
    }
    room_.wait_for_dirty_room(below);
    {
      const RangeLock::Guard changing(state_.changes, state_.pages_covering(range));
      zero_cached(below, range, wanted.may_trim);
    }
    state_.publish();
    if (wanted.durability == Durability::fua) flushes_.make_durable(below, range);
  }
}

void Writes::zero_cached(Layer& below, const Range& range, bool may_trim) {
  const Range blocks =
      aligned_inside(range, state_.settings.block_size, state_.geometry.size_bytes());
  if (blocks.empty()) {
    for (const BlockPiece& piece : state_.geometry.split(range)) zero_piece(below, piece, may_trim);
    return;
  }
  const Range head{range.offset, blocks.offset - range.offset};
  const Range tail{blocks.end(), range.end() - blocks.end()};
  for (const Range& end : {head, tail}) {
    for (const BlockPiece& piece : state_.geometry.split(end)) zero_piece(below, piece, may_trim);
  }
  remember_zeros(below, blocks, may_trim);
}

// Zeroes part of a block.
void Writes::zero_piece(Layer& below, const BlockPiece& piece, bool may_trim) {
  const PageMask covered = state_.pages.covered(piece.offset_in_block, piece.length,
                                                state_.geometry.length_of(piece.block));
  if (covered != 0) zero_pages(below, piece, covered, may_trim);
  state_.pages.for_each_part(piece.offset_in_block, piece.length, covered,
                             [&](std::uint32_t offset, std::uint32_t length, bool is_covered) {
                               if (!is_covered)
                                 write_zeros(below, {piece.block, offset, length, 0});
                             });
}

void Writes::zero_pages(Layer& below, const BlockPiece& piece, PageMask covered, bool may_trim) {
  while (true) {
    const auto claimed = room_.claim(below, piece.block);
    if (!claimed) break;
    const Slot slot = claimed->slot;
    Pin pin(state_, slot);
    const WriteReceipt given_up =
        state_.store->forget(slot, covered, claimed->pages.stored() & covered);
    const MutexLock lock(state_.mutex);
    const bool is_attached = state_.residents.is_attached(slot);
    if (is_attached) state_.residents.zeroed(slot, covered, given_up, may_trim);
    pin.give_back(state_);
    if (is_attached) return;
  }
  state_.pages.for_each_part(piece.offset_in_block, piece.length, covered,
                             [&](std::uint32_t offset, std::uint32_t length, bool is_covered) {
                               if (is_covered) write_zeros(below, {piece.block, offset, length, 0});
                             });
}

void Writes::write_zeros(Layer& below, const BlockPiece& piece) {
  const std::vector<std::byte> zeros(piece.length);
  write_piece(below, piece, zeros);
}

// Zeroes whole blocks. Blocks that are being written back keep their slots, because the zeros have
// to follow them there; all others leave the table.
void Writes::remember_zeros(Layer& below, const Range& blocks, bool may_trim) {
  MutexLock lock(state_.mutex);
  std::vector<Slot> cached;
  while (true) {
    std::vector<BlockNumber> on_their_way;
    cached = state_.residents.cached_in(blocks);
    for (const Slot slot : cached) {
      const BlockNumber block = state_.residents[slot].block();
      const Pages pages = state_.residents.pages(slot);
      const bool is_zero = pages.zero == state_.pages.all(state_.geometry.length_of(block));
      const bool is_enough = is_zero && (may_trim || pages.hole == 0);
      if (state_.residents[slot].writing && !is_enough) on_their_way.push_back(block);
    }
    if (on_their_way.empty()) break;
    lock.unlock();
    for (const BlockNumber block : on_their_way) {
      const std::uint32_t length = state_.geometry.length_of(block);
      zero_pages(below, {block, 0, length, 0}, state_.pages.all(length), may_trim);
    }
    lock.lock();
  }
  state_.residents.remember_zeros(blocks, may_trim, cached);
  state_.changed.notify_all();
}

// A trimmed range is remembered as zeros that may also be holes, if the layer below can make zeros:
// the content must not change later, when the cache forgets the range. A part of a page is not
// trimmed.
void Writes::trim(Layer& below, const Range& range, Durability durability) {
  state_.expect_on_disk(range);
  if (state_.settings.ignores_flushes()) durability = Durability::on_flush;
  const bool around = state_.settings.writes_through() || below.traits().zero != Support::native;
  const Range whole =
      aligned_inside(range, around ? state_.settings.block_size : state_.pages.page_size(),
                     state_.geometry.size_bytes());
  if (whole.empty()) return;
  if (!around) {
    zero(below, whole, {.may_trim = true, .fast = false, .durability = durability});
    return;
  }
  const RangeLock::Guard changing(state_.changes, whole);
  const auto trim = [&](Durability fua) { below.trim(whole.length, whole.offset, fua); };
  const auto apply = [](Bypass& bypass) { bypass.drop_whole_blocks(); };
  change_around(below, whole, durability, trim, apply);
}

}  // namespace nbdstack
