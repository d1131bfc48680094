// Zeros and trims.
//
// In the cached modes they cost no storage and no request: whole blocks become ranges of zeros,
// pages become marks in the table, and both go below as a zero (or as nothing at all where they are
// overwritten first). Only what covers a page in part is written as data.
#include <algorithm>
#include <exception>
#include <vector>

#include "common/error.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/engine/bypass.hpp"
#include "filters/cache/engine/durability.hpp"

namespace nbdstack {
namespace {

Range aligned_inside(const Range& range, std::uint64_t alignment, std::uint64_t disk_size) {
  const std::uint64_t first = (range.offset + alignment - 1) / alignment * alignment;
  const std::uint64_t last =
      range.end() == disk_size ? disk_size : range.end() / alignment * alignment;
  return first < last ? Range{first, last - first} : Range{range.offset, 0};
}

}  // namespace

// A fast zero is refused where it would be a write like any other: where it covers no whole page.
void BlockCache::zero(Layer& below, const Range& range, const ZeroOptions& options) {
  expect_on_disk(range);
  ZeroOptions wanted = options;
  if (settings_.ignores_flushes()) wanted.durability = Durability::on_flush;
  if (settings_.writes_through()) {
    const RangeLock::Guard changing(changes_, pages_covering(range));
    zero_around(below, range, wanted);
  } else {
    if (wanted.fast && aligned_inside(range, pages_.page_size(), geometry_.size_bytes()).empty()) {
      throw Error(ENOTSUP, "cache: a zero of less than a page is not faster than a write");
    }
    wait_for_dirty_room(below);
    {
      const RangeLock::Guard changing(changes_, pages_covering(range));
      zero_cached(below, range, wanted.may_trim);
    }
    publish();
    if (wanted.durability == Durability::fua) make_durable(below, range);
  }
  relieve(below, true);
}

void BlockCache::zero_cached(Layer& below, const Range& range, bool may_trim) {
  const Range blocks = aligned_inside(range, settings_.block_size, geometry_.size_bytes());
  if (blocks.empty()) {
    for (const BlockPiece& piece : geometry_.split(range)) zero_piece(below, piece, may_trim);
    return;
  }
  const Range head{range.offset, blocks.offset - range.offset};
  const Range tail{blocks.end(), range.end() - blocks.end()};
  for (const Range& end : {head, tail}) {
    for (const BlockPiece& piece : geometry_.split(end)) zero_piece(below, piece, may_trim);
  }
  remember_zeros(below, blocks, may_trim);
}

// Part of a block.
void BlockCache::zero_piece(Layer& below, const BlockPiece& piece, bool may_trim) {
  const PageMask covered =
      pages_.covered(piece.offset_in_block, piece.length, geometry_.length_of(piece.block));
  if (covered != 0) zero_pages(below, piece, covered, may_trim);
  pages_.for_each_part(piece.offset_in_block, piece.length, covered,
                       [&](std::uint32_t offset, std::uint32_t length, bool is_covered) {
                         if (!is_covered) write_zeros(below, {piece.block, offset, length, 0});
                       });
}

void BlockCache::zero_pages(Layer& below, const BlockPiece& piece, PageMask covered,
                            bool may_trim) {
  while (true) {
    MutexLock claiming(mutex_);
    const auto slot = claim(below, piece.block);
    if (!slot) break;
    const PageMask stored = residents_.pages(*slot).stored() & covered;
    claiming.unlock();
    Pin pin(*this, *slot);
    const StoredPages given_up = store_->forget(*slot, covered, stored);
    MutexLock lock(mutex_);
    const bool is_attached = residents_.is_attached(*slot);
    if (is_attached) residents_.zeroed(*slot, covered, given_up, may_trim);
    pin.give_back(*this);
    if (is_attached) return;
  }
  pages_.for_each_part(piece.offset_in_block, piece.length, covered,
                       [&](std::uint32_t offset, std::uint32_t length, bool is_covered) {
                         if (is_covered) write_zeros(below, {piece.block, offset, length, 0});
                       });
}

void BlockCache::write_zeros(Layer& below, const BlockPiece& piece) {
  const std::vector<std::byte> zeros(piece.length);
  write_piece(below, piece, zeros);
}

// Whole blocks. Those that are on their way to the layer below keep their slots, because the zero
// has to follow them there; all others leave the table.
void BlockCache::remember_zeros(Layer& below, const Range& blocks, bool may_trim) {
  MutexLock lock(mutex_);
  std::vector<Slot> cached;
  while (true) {
    std::vector<BlockNumber> on_their_way;
    cached = residents_.cached_in(blocks);
    for (const Slot slot : cached) {
      const BlockNumber block = residents_[slot].block();
      const Pages pages = residents_.pages(slot);
      const bool is_zero = pages.zero == pages_.all(geometry_.length_of(block));
      const bool is_enough = is_zero && (may_trim || pages.hole == 0);
      if (residents_[slot].writing && !is_enough) on_their_way.push_back(block);
    }
    if (on_their_way.empty()) break;
    lock.unlock();
    for (const BlockNumber block : on_their_way) {
      const std::uint32_t length = geometry_.length_of(block);
      zero_pages(below, {block, 0, length, 0}, pages_.all(length), may_trim);
    }
    lock.lock();
  }
  residents_.remember_zeros(blocks, may_trim, cached);
  changed_.notify_all();
}

void BlockCache::zero_around(Layer& below, const Range& range, const ZeroOptions& options) {
  Bypass bypass(*this, below, range);
  const Durability durability = store_->is_durable() ? Durability::fua : options.durability;
  ZeroOptions passed = options;
  passed.durability = supported(durability, below);
  try {
    below.zero(range.length, range.offset, passed);
    complete_durability(below, durability);
    bypass.apply_zeros();
  } catch (const std::exception& failure) {
    const auto* const error = dynamic_cast<const Error*>(&failure);
    const bool refused = options.fast && error != nullptr && error->code() == ENOTSUP;
    if (!refused) bypass.forget_clean();
    throw;
  }
  bypass.commit();
  settle(below);
}

// A trimmed range is remembered as zeros that may as well be holes, where the layer below can make
// zeros: it must not change by itself later on, when what is remembered is forgotten. What is
// trimmed in part of a page only is left alone.
void BlockCache::trim(Layer& below, const Range& range, Durability durability) {
  expect_on_disk(range);
  if (settings_.ignores_flushes()) durability = Durability::on_flush;
  const bool around = settings_.writes_through() || below.traits().zero != Support::native;
  const Range whole = aligned_inside(range, around ? settings_.block_size : pages_.page_size(),
                                     geometry_.size_bytes());
  if (whole.empty()) return;
  if (!around) {
    zero(below, whole, {.may_trim = true, .fast = false, .durability = durability});
    return;
  }
  const RangeLock::Guard changing(changes_, whole);
  trim_around(below, whole, durability);
}

void BlockCache::trim_around(Layer& below, const Range& range, Durability durability) {
  Bypass bypass(*this, below, range);
  if (store_->is_durable()) durability = Durability::fua;
  try {
    below.trim(range.length, range.offset, supported(durability, below));
    complete_durability(below, durability);
    bypass.drop_whole_blocks();
  } catch (const std::exception&) {
    bypass.forget_clean();
    throw;
  }
  bypass.commit();
  settle(below);
}

}  // namespace nbdstack
