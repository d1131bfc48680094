#include <algorithm>

#include "common/error.hpp"
#include "filters/cache/block_cache.hpp"
#include "filters/cache/bypass.hpp"
#include "filters/cache/fetch.hpp"

namespace nbdstack {
namespace {

// FUA as far as the layer below has it; what it lacks, a flush has to do.
Durability supported(Durability wanted, const Layer& below) {
  return below.traits().fua == Support::none ? Durability::on_flush : wanted;
}

void complete_durability(Layer& below, Durability wanted) {
  const bool flush_needed = wanted == Durability::fua && below.traits().fua == Support::none;
  if (flush_needed && below.traits().can_flush) below.flush();
}

Range aligned_inside(const Range& range, std::uint64_t alignment, std::uint64_t disk_size) {
  const std::uint64_t first = (range.offset + alignment - 1) / alignment * alignment;
  const std::uint64_t last =
      range.end() == disk_size ? disk_size : range.end() / alignment * alignment;
  return first < last ? Range{first, last - first} : Range{range.offset, 0};
}

}  // namespace

void BlockCache::write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                       Durability durability) {
  if (settings_.mode == CacheMode::unsafe) durability = Durability::on_flush;
  const Range range{offset, buffer.size()};
  const bool around = settings_.mode == CacheMode::writethrough;
  {
    const RangeLock::Guard changing(changes_, range);
    if (around) {
      write_around(below, buffer, offset, durability);
    } else {
      write_cached(below, buffer, offset);
    }
  }
  if (!around && durability == Durability::fua) make_durable(below, {range});
  relieve(below, true);
}

void BlockCache::write_cached(Layer& below, std::span<const std::byte> buffer,
                              std::uint64_t offset) {
  for (const BlockPiece& piece : geometry_.split({offset, buffer.size()})) {
    write_piece(below, piece, buffer.subspan(piece.offset_in_request, piece.length));
  }
}

void BlockCache::write_piece(Layer& below, const BlockPiece& piece,
                             std::span<const std::byte> data) {
  while (const auto slot = claim_for_write(below, piece)) {
    const Stored stored = store_piece(*slot, piece, data);
    if (stored == Stored::yes) return;
    if (stored == Stored::impossible) break;
  }
  const std::uint64_t offset = geometry_.offset_of(piece.block) + piece.offset_in_block;
  write_around(below, data, offset, Durability::on_flush);
}

// A pinned slot to write the piece to: the block's own, or a new one in state storing. Nothing: the
// block cannot be cached.
std::optional<Slot> BlockCache::claim_for_write(Layer& below, const BlockPiece& piece) {
  Lock lock(mutex_);
  while (true) {
    Slot slot = table_.find(piece.block);
    if (slot != kNoSlot && table_[slot].state == BlockState::storing) {
      wait_until_stored(lock, piece);
      continue;
    }
    if (slot == kNoSlot && geometry_.is_whole(piece)) {
      supersede_fetches(lock, geometry_.range_of(piece.block));
      const auto taken = take_slot(lock, piece.block);
      if (!taken) {
        if (!make_room(lock, below)) return std::nullopt;
        continue;
      }
      slot = *taken;
    }
    if (slot == kNoSlot) {
      if (!load_for_write(lock, below, piece.block)) return std::nullopt;
      continue;
    }
    table_.pin(slot);
    table_.touch(slot);
    return slot;
  }
}

// Part of an absent block is going to be written: the rest has to be there. False: the block cannot
// be stored.
bool BlockCache::load_for_write(Lock& lock, Layer& below, BlockNumber block) {
  if (!table_.has_room() && oldest_evictable(lock) == kNoSlot && !make_room(lock, below)) {
    return false;
  }
  if (table_.find(block) != kNoSlot) return true;
  std::vector<std::shared_ptr<Fetch>> started;
  const auto fetch = join_or_start_fetch(lock, block, true, started);
  lock.unlock();
  run_fetches(below, started);
  lock.lock();
  wait_for(lock, *fetch);
  if (fetch->error_code != 0) throw Error::reported(fetch->error_code);
  if (table_.find(block) != kNoSlot) return true;
  // Not stored although read. If a change of other parts of the block goes around the cache, so
  // must this one; otherwise it was overtaken or found no slot, and may try again as long as the
  // cache still finds room at all.
  const bool passing = std::any_of(bypasses_.begin(), bypasses_.end(), [&](const Range& bypass) {
    return bypass.overlaps(geometry_.range_of(block));
  });
  return !passing && (table_.has_room() || oldest_evictable(lock) != kNoSlot);
}

// An Error: the data can neither be stored nor go below, because older dirty data of the same block
// would be written over it.
BlockCache::Stored BlockCache::store_piece(Slot slot, const BlockPiece& piece,
                                           std::span<const std::byte> data) {
  std::optional<Error> failure;
  try {
    file_.write(slot, data, piece.offset_in_block);
  } catch (const Error& error) {
    failure = error;
    storage_failed(error);
  }
  Lock lock(mutex_);
  const BlockTable::Entry& entry = table_[slot];
  const BlockState state = entry.state;
  const bool has_dirty_data =
      entry.attached && (state == BlockState::dirty || state == BlockState::writing ||
                         state == BlockState::rewritten);
  Stored result = Stored::impossible;
  if (!entry.attached) {
    result = Stored::elsewhere;
  } else if (!failure) {
    const bool under_way = state == BlockState::writing || state == BlockState::rewritten;
    table_.set_state(slot, under_way ? BlockState::rewritten : BlockState::dirty);
    result = Stored::yes;
  } else if (!has_dirty_data) {
    table_.retire(slot);
  }
  give_back(lock, slot);
  if (failure && has_dirty_data) throw Error(*failure);
  return result;
}

void BlockCache::write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                              Durability durability) {
  Bypass bypass(*this, {offset, buffer.size()});
  try {
    below.pwrite(buffer, offset, supported(durability, below));
    complete_durability(below, durability);
  } catch (const Error&) {
    bypass.forget_clean();
    throw;
  }
  bypass.apply_data(buffer);
  settle(below);
}

// What went below outside of a flush has to be covered by a later flush on any connection, as the
// cache promises it. Where the layer below does not, it is flushed at once on the connection that
// it went through.
void BlockCache::settle(Layer& below) const {
  const LayerTraits& traits = below.traits();
  const bool promised = settings_.mode == CacheMode::writeback;
  if (promised && !traits.can_multi_conn && traits.can_flush) below.flush();
}

// Zeros of whole blocks of the layer below go there at once and are not stored; the ends, if any,
// are written to the cache.
void BlockCache::zero(Layer& below, const Range& range, const ZeroOptions& options) {
  ZeroOptions wanted = options;
  if (settings_.mode == CacheMode::unsafe) wanted.durability = Durability::on_flush;
  const Range around = range_to_zero_below(below, range);
  const Range head{range.offset, around.offset - range.offset};
  const Range tail{around.end(), range.end() - around.end()};
  {
    const RangeLock::Guard changing(changes_, range);
    // First what may be refused (fast zero): then nothing has been changed yet.
    if (!around.empty()) zero_around(below, around, wanted);
    write_zeros_cached(below, head);
    write_zeros_cached(below, tail);
  }
  if (wanted.durability == Durability::fua) make_durable(below, {head, tail});
  relieve(below, true);
}

// Parts of a block of the layer below stay in the cache: there they are cheap, and below they may
// cost a read and a write.
Range BlockCache::range_to_zero_below(const Layer& below, const Range& range) const {
  if (settings_.mode == CacheMode::writethrough) return range;
  if (below.traits().zero == Support::none) return {range.offset, 0};
  return aligned_inside(range, std::max(settings_.block_size, below.traits().preferred_block_size),
                        geometry_.size_bytes());
}

void BlockCache::write_zeros_cached(Layer& below, const Range& range) {
  const std::vector<std::byte> zeros(std::min<std::uint64_t>(range.length, settings_.block_size));
  for (const BlockPiece& piece : geometry_.split(range)) {
    write_piece(below, piece, std::span(zeros).first(piece.length));
  }
}

void BlockCache::zero_around(Layer& below, const Range& range, const ZeroOptions& options) {
  Bypass bypass(*this, range);
  ZeroOptions passed = options;
  passed.durability = supported(options.durability, below);
  try {
    below.zero(range.length, range.offset, passed);
    complete_durability(below, options.durability);
  } catch (const Error& error) {
    const bool refused = options.fast && error.code() == ENOTSUP;
    if (!refused) bypass.forget_clean();
    throw;
  }
  bypass.apply_zeros();
  settle(below);
}

// The content of a trimmed range is unspecified, but it must not change by itself later on, so
// blocks that are trimmed in part only are left alone: what is cached of them and what is below
// stay the same.
void BlockCache::trim(Layer& below, const Range& range, Durability durability) {
  if (settings_.mode == CacheMode::unsafe) durability = Durability::on_flush;
  const Range whole = aligned_inside(range, settings_.block_size, geometry_.size_bytes());
  if (whole.empty()) return;
  const RangeLock::Guard changing(changes_, whole);
  Bypass bypass(*this, whole);
  try {
    below.trim(whole.length, whole.offset, supported(durability, below));
    complete_durability(below, durability);
  } catch (const Error&) {
    bypass.forget_clean();
    throw;
  }
  bypass.drop_whole_blocks();
  settle(below);
}

}  // namespace nbdstack
