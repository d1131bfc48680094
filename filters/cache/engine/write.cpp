#include <algorithm>
#include <cstring>
#include <exception>

#include "common/error.hpp"
#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/engine/block_cache.hpp"
#include "filters/cache/engine/bypass.hpp"
#include "filters/cache/engine/durability.hpp"

namespace nbdstack {

void BlockCache::write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                       Durability durability) {
  if (settings_.ignores_flushes()) durability = Durability::on_flush;
  const Range range{offset, buffer.size()};
  expect_on_disk(range);
  if (settings_.writes_through()) {
    const RangeLock::Guard changing(changes_, pages_covering(range));
    write_around(below, buffer, offset, durability);
  } else {
    wait_for_dirty_room(below);
    {
      const RangeLock::Guard changing(changes_, pages_covering(range));
      write_cached(below, buffer, offset);
    }
    publish();
    if (durability == Durability::fua) make_durable(below, range);
  }
  relieve(below, true);
}

void BlockCache::write_cached(Layer& below, std::span<const std::byte> buffer,
                              std::uint64_t offset) {
  const BlockNumber block = geometry_.block_at(offset);
  const std::uint64_t in_block = offset - geometry_.offset_of(block);
  if (buffer.size() <= geometry_.length_of(block) - in_block) {  // most are, and need no list
    write_piece(below,
                {.block = block,
                 .offset_in_block = static_cast<std::uint32_t>(in_block),
                 .length = static_cast<std::uint32_t>(buffer.size()),
                 .offset_in_request = 0},
                buffer);
    return;
  }
  for (const BlockPiece& piece : geometry_.split({offset, buffer.size()})) {
    write_piece(below, piece, buffer.subspan(piece.offset_in_request, piece.length));
  }
}

void BlockCache::write_piece(Layer& below, const BlockPiece& piece,
                             std::span<const std::byte> data) {
  while (true) {
    MutexLock lock(mutex_);
    const auto slot = claim(below, piece.block);
    if (!slot) {
      lock.unlock();
      return write_piece_around(below, piece, data);
    }
    const Pages before = residents_.pages(*slot);
    lock.unlock();
    const Stored stored = store_piece(below, *slot, before, piece, data);
    switch (stored) {
      case Stored::yes:
        return;
      case Stored::elsewhere:
        break;
      case Stored::impossible:
        return write_piece_around(below, piece, data);
      case Stored::once_clean:
        write_back_in_the_way(below, piece.block);
        break;
    }
  }
}

void BlockCache::write_piece_around(Layer& below, const BlockPiece& piece,
                                    std::span<const std::byte> data) {
  const std::uint64_t offset = geometry_.offset_of(piece.block) + piece.offset_in_block;
  write_around(below, data, offset, Durability::on_flush);
}

std::optional<Slot> BlockCache::claim(Layer& below, BlockNumber block) {
  while (true) {
    Slot slot = find_verified(block);
    if (slot != kNoSlot && residents_[slot].copying) {
      changed_.wait(mutex_);
      continue;
    }
    if (slot == kNoSlot) {
      const auto taken = residents_.take_slot(block);
      if (!taken) {
        if (!make_room(below)) return std::nullopt;
        continue;
      }
      slot = *taken;
      residents_.adopt_zeros(slot);
    }
    residents_.pin(slot);
    residents_.touch(slot);
    return slot;
  }
}

// Writes to a pinned slot, and gives it back. `before`: its pages; those of the piece stay as they
// are until we change them.
BlockCache::Stored BlockCache::store_piece(Layer& below, Slot slot, const Pages& before,
                                           const BlockPiece& piece,
                                           std::span<const std::byte> data) {
  Pin pin(*this, slot);
  const PageMask touched = pages_.touched(piece.offset_in_block, piece.length);
  const PageMask partial = touched & ~pages_.covered(piece.offset_in_block, piece.length,
                                                     geometry_.length_of(piece.block));
  if ((partial & before.damaged()) != 0) {
    throw Error(EIO, fmt::format("cache: block at offset {}: part of a page cannot be written, "
                                 "because the rest of it is damaged",
                                 geometry_.offset_of(piece.block)));
  }
  BlockPiece whole = piece;
  std::vector<std::byte> completed;
  if ((partial & ~before.valid) != 0) {
    completed = complete_pages(below, whole, data, partial & ~before.valid);
    data = completed;
  }
  StoredPages stored;
  std::optional<Error> failure;
  bool intact = false;
  try {
    stored = store_->write(slot, data, whole.offset_in_block, before.stored());
  } catch (const NothingOverwritten& error) {
    failure = error;
    intact = true;
    storage_failed(error);
  } catch (const Error& error) {
    failure = error;
    storage_failed(error);
  }
  MutexLock lock(mutex_);
  const Stored result =
      failure ? could_not_store(slot, touched, intact, *failure) : note_stored(slot, stored);
  pin.give_back(*this);
  return result;
}

BlockCache::Stored BlockCache::note_stored(Slot slot, const StoredPages& stored) {
  if (!residents_.is_attached(slot)) return Stored::elsewhere;
  residents_.wrote(slot, stored, true);
  storage_worked(slot);
  return Stored::yes;
}

// What the touched pages held may be gone, unless they are `intact`. If it was clean, and nothing
// else in the block is dirty, nothing has been lost, and the change can go around the cache. What is
// dirty and intact has to go below before it.
BlockCache::Stored BlockCache::could_not_store(Slot slot, PageMask touched, bool intact,
                                               const Error& error) {
  if (!residents_.is_attached(slot)) return Stored::elsewhere;
  const Pages pages = residents_.pages(slot);
  if (pages.dirty == 0 && !residents_[slot].writing) {
    residents_.retire(slot);
  } else if ((pages.stored() & touched) != 0) {
    if (intact && is_for_lack_of_room(error)) return Stored::once_clean;
    if (!intact) forget_overwritten(slot, touched);
    throw Error(error);
  }
  return Stored::impossible;
}

// Clean pages may hold some of what could not be stored, which is not below: they must not count as
// a copy of that. What is on its way below was not overwritten, and is not clean before it arrives.
void BlockCache::forget_overwritten(Slot slot, PageMask touched) {
  while (residents_.is_attached(slot) && residents_[slot].writing) changed_.wait(mutex_);
  forget_pages(slot, touched);
}

// Pages that are written in part and not cached: the rest of them is read from below, and the piece
// becomes whole pages.
std::vector<std::byte> BlockCache::complete_pages(Layer& below, BlockPiece& piece,
                                                  std::span<const std::byte> data,
                                                  PageMask missing) {
  const std::uint64_t block_offset = geometry_.offset_of(piece.block);
  const std::uint32_t piece_end = piece.offset_in_block + piece.length;
  const unsigned first = pages_.page_at(piece.offset_in_block);
  const unsigned last = pages_.page_at(piece_end - 1);
  std::uint32_t begin = piece.offset_in_block;
  std::uint32_t end = piece_end;
  if ((missing & page_run(first, 1)) != 0) begin = pages_.offset_of(first);
  if ((missing & page_run(last, 1)) != 0) {
    end = std::min(geometry_.length_of(piece.block), pages_.offset_of(last) + pages_.page_size());
  }
  std::vector<std::byte> whole(end - begin);
  const std::span<std::byte> bytes(whole);
  if (first == last) {
    read_part(below, {block_offset + begin, end - begin}, bytes);
  } else {
    const std::uint32_t head = piece.offset_in_block - begin;
    const std::uint32_t tail = end - piece_end;
    if (head > 0) read_part(below, {block_offset + begin, head}, bytes.first(head));
    if (tail > 0) read_part(below, {block_offset + piece_end, tail}, bytes.last(tail));
  }
  std::memcpy(whole.data() + (piece.offset_in_block - begin), data.data(), data.size());
  piece.offset_in_block = begin;
  piece.length = end - begin;
  return whole;
}

void BlockCache::write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                              Durability durability) {
  Bypass bypass(*this, below, {offset, buffer.size()});
  if (store_->is_durable()) durability = Durability::fua;
  try {
    below.pwrite(buffer, offset, supported(durability, below));
    complete_durability(below, durability);
    bypass.apply_data(buffer);
  } catch (const std::exception&) {
    bypass.forget_clean();
    throw;
  }
  bypass.commit();
  settle(below);
}

}  // namespace nbdstack
