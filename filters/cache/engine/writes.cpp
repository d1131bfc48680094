#include "filters/cache/engine/writes.hpp"

#include <algorithm>
#include <cstring>
#include <exception>

#include "common/error.hpp"
#include "common/io/lack_of_room.hpp"
#include "filters/cache/engine/below.hpp"

namespace nbdstack {

void Writes::write(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                   Durability durability) {
  if (state_.settings.ignores_flushes()) durability = Durability::on_flush;
  const Range range{offset, buffer.size()};
  state_.expect_on_disk(range);
  if (state_.settings.writes_through()) {
    const RangeLock::Guard changing(state_.changes, state_.pages_covering(range));
    write_around(below, buffer, offset, durability);
  } else {
    room_.wait_for_dirty_room(below);
    {
      const RangeLock::Guard changing(state_.changes, state_.pages_covering(range));
      write_cached(below, buffer, offset);
    }
    state_.publish();
    if (durability == Durability::fua) flushes_.make_durable(below, range);
  }
}

void Writes::write_cached(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset) {
  const BlockNumber block = state_.geometry.block_at(offset);
  const std::uint64_t in_block = offset - state_.geometry.offset_of(block);
  if (buffer.size() <= state_.geometry.length_of(block) - in_block) {  // the most frequent case
    write_piece(below,
                {.block = block,
                 .offset_in_block = static_cast<std::uint32_t>(in_block),
                 .length = static_cast<std::uint32_t>(buffer.size()),
                 .offset_in_request = 0},
                buffer);
    return;
  }
  for (const BlockPiece& piece : state_.geometry.split({offset, buffer.size()})) {
    write_piece(below, piece, buffer.subspan(piece.offset_in_request, piece.length));
  }
}

void Writes::write_piece(Layer& below, const BlockPiece& piece, std::span<const std::byte> data) {
  while (true) {
    const auto claimed = room_.claim(below, piece.block);
    if (!claimed) return write_piece_around(below, piece, data);
    switch (store_piece(below, *claimed, piece, data)) {
      case Stored::yes:
        return;
      case Stored::elsewhere:
        break;
      case Stored::impossible:
        return write_piece_around(below, piece, data);
      case Stored::once_clean:
        room_.write_back_in_the_way(below, piece.block);
        break;
    }
  }
}

void Writes::write_piece_around(Layer& below, const BlockPiece& piece,
                                std::span<const std::byte> data) {
  const std::uint64_t offset = state_.geometry.offset_of(piece.block) + piece.offset_in_block;
  write_around(below, data, offset, Durability::on_flush);
}

// Ends the pin. The piece's pages of the slot stay as they are until we change them.
Writes::Stored Writes::store_piece(Layer& below, const RoomMaker::Claimed& claimed,
                                   const BlockPiece& piece, std::span<const std::byte> data) {
  const auto& [slot, before] = claimed;
  Pin pin(state_, slot);
  const PageMask touched = state_.pages.touched(piece.offset_in_block, piece.length);
  const PageMask partial = touched & ~state_.pages.covered(piece.offset_in_block, piece.length,
                                                           state_.geometry.length_of(piece.block));
  if ((partial & before.damaged()) != 0) {
    throw Error(EIO, fmt::format("cache: block at offset {}: part of a page cannot be written, "
                                 "because the rest of it is damaged",
                                 state_.geometry.offset_of(piece.block)));
  }
  BlockPiece whole = piece;
  std::vector<std::byte> completed;
  if ((partial & ~before.valid) != 0) {
    completed = complete_pages(below, whole, data, partial & ~before.valid);
    data = completed;
  }
  WriteReceipt stored;
  std::optional<Error> failure;
  bool intact = false;
  try {
    stored = state_.store->write(slot, data, whole.offset_in_block, before.stored());
  } catch (const NothingOverwritten& error) {
    failure = error;
    intact = true;
    state_.storage_failed(error);
  } catch (const Error& error) {
    failure = error;
    state_.storage_failed(error);
  }
  MutexLock lock(state_.mutex);
  const Stored result =
      failure ? could_not_store(slot, touched, intact, *failure) : note_stored(slot, stored);
  pin.give_back(state_);
  return result;
}

Writes::Stored Writes::note_stored(Slot slot, const WriteReceipt& stored) {
  if (!state_.residents.is_attached(slot)) return Stored::elsewhere;
  state_.residents.wrote(slot, stored, true);
  state_.storage_worked(slot);
  return Stored::yes;
}

// The former content of the touched pages may be lost, unless they are `intact`. If it was clean,
// and nothing else in the block is dirty, nothing has been lost, and the change can bypass the
// cache. Content that is dirty and intact has to be written back before that.
Writes::Stored Writes::could_not_store(Slot slot, PageMask touched, bool intact,
                                       const Error& error) {
  if (!state_.residents.is_attached(slot)) return Stored::elsewhere;
  const Pages pages = state_.residents.pages(slot);
  if (pages.dirty == 0 && !state_.residents[slot].writing) {
    state_.residents.retire(slot);
  } else if ((pages.stored() & touched) != 0) {
    if (intact && is_for_lack_of_room(error)) return Stored::once_clean;
    if (!intact) forget_overwritten(slot, touched);
    throw Error(error);
  }
  return Stored::impossible;
}

// Clean pages may contain part of what could not be stored and is not below: they must not count as
// its copy. Pages that are being written back were not overwritten, nor are they clean meanwhile.
void Writes::forget_overwritten(Slot slot, PageMask touched) {
  while (state_.residents.is_attached(slot) && state_.residents[slot].writing)
    state_.changed.wait(state_.mutex);
  state_.forget_pages(slot, touched);
}

// Completes pages that are written in part and not cached: the rest of them is read from below, and
// the piece becomes whole pages.
std::vector<std::byte> Writes::complete_pages(Layer& below, BlockPiece& piece,
                                              std::span<const std::byte> data, PageMask missing) {
  const std::uint64_t block_offset = state_.geometry.offset_of(piece.block);
  const std::uint32_t piece_end = piece.offset_in_block + piece.length;
  const unsigned first = state_.pages.page_at(piece.offset_in_block);
  const unsigned last = state_.pages.page_at(piece_end - 1);
  std::uint32_t begin = piece.offset_in_block;
  std::uint32_t end = piece_end;
  if ((missing & page_run(first, 1)) != 0) begin = state_.pages.offset_of(first);
  if ((missing & page_run(last, 1)) != 0) {
    end = std::min(state_.geometry.length_of(piece.block),
                   state_.pages.offset_of(last) + state_.pages.page_size());
  }
  std::vector<std::byte> whole(end - begin);
  const std::span<std::byte> bytes(whole);
  if (first == last) {
    reads_.read_part(below, {block_offset + begin, end - begin}, bytes);
  } else {
    const std::uint32_t head = piece.offset_in_block - begin;
    const std::uint32_t tail = end - piece_end;
    if (head > 0) reads_.read_part(below, {block_offset + begin, head}, bytes.first(head));
    if (tail > 0) reads_.read_part(below, {block_offset + piece_end, tail}, bytes.last(tail));
  }
  std::memcpy(whole.data() + (piece.offset_in_block - begin), data.data(), data.size());
  piece.offset_in_block = begin;
  piece.length = end - begin;
  return whole;
}

void Writes::write_around(Layer& below, std::span<const std::byte> buffer, std::uint64_t offset,
                          Durability durability) {
  const auto write = [&](Durability fua) { below.pwrite(buffer, offset, fua); };
  const auto apply = [&](Bypass& bypass) { bypass.apply_data(buffer); };
  change_around(below, {offset, buffer.size()}, durability, write, apply);
}

void Writes::change_around(Layer& below, const Range& range, Durability durability,
                           const std::function<void(Durability)>& change,
                           const std::function<void(Bypass&)>& apply, bool may_be_refused) {
  Bypass bypass(state_, write_backs_, below, range);
  if (state_.store->is_durable()) durability = Durability::fua;
  try {
    change(supported(durability, below));
    complete_durability(below, durability);
    apply(bypass);
  } catch (const std::exception& failure) {
    const auto* const error = dynamic_cast<const Error*>(&failure);
    const bool is_refused = may_be_refused && error != nullptr && error->code() == ENOTSUP;
    if (!is_refused) bypass.forget_clean();
    throw;
  }
  bypass.commit();
  write_backs_.flush_connection(below);
}

}  // namespace nbdstack
