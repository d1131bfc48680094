#include "plugins/s3/volume/volume.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "common/block/expect_on_disk.hpp"
#include "common/block/zeros.hpp"
#include "common/error.hpp"

namespace nbdstack {
namespace {

// The removals, and the part of a listing, that are in memory at a time: 16 requests' worth of
// each.
constexpr std::size_t kDiscardRound = 16 * BlockObjects::kBatch;

// An answer about extents takes at most this many pages of listing: a second or so on a service
// that is far away.
constexpr std::size_t kExtentPages = 10;

// NBD's bound.
constexpr std::uint32_t kPreferred_bytes_max = 32U << 20U;

// Requests of the listing at the start, so that clients have the greater part of the connections.
std::size_t listing_requests(std::size_t connections) {
  return std::clamp<std::size_t>(connections / 4, 1, 8);
}

// The plan of a zero or trim for the blocks that it touches.
struct Coverage {
  std::vector<BlockPiece> parts;  // at most two: blocks covered in part
  BlockNumber first_whole;  // [first_whole, end_whole): blocks covered as far as the disk goes
  BlockNumber end_whole;
  Range touched;  // all of the above, as a range of whole blocks
};

Coverage cover(const BlockGeometry& geometry, const Range& range) {
  expect_on_disk(range, geometry.size_bytes());
  const BlockNumber first = geometry.block_at(range.offset);
  const BlockNumber last = geometry.block_at(range.end() - 1);
  Coverage coverage{.parts = {}, .first_whole = first, .end_whole = last.next(), .touched = {}};
  coverage.touched = {geometry.offset_of(first),
                      geometry.range_of(last).end() - geometry.offset_of(first)};

  const auto part_of = [&](BlockNumber block) {
    const Range part = geometry.range_of(block).intersection(range);
    return BlockPiece{
        .block = block,
        .offset_in_block = static_cast<std::uint32_t>(part.offset - geometry.offset_of(block)),
        .length = static_cast<std::uint32_t>(part.length),
        .offset_in_request = part.offset - range.offset};
  };
  if (const BlockPiece head = part_of(first); !geometry.is_whole(head)) {
    coverage.parts.push_back(head);
    ++coverage.first_whole;
  }
  if (first == last) return coverage;
  if (const BlockPiece tail = part_of(last); !geometry.is_whole(tail)) {
    coverage.parts.push_back(tail);
    coverage.end_whole = last;
  }
  return coverage;
}

std::vector<BlockNumber> in_either(const std::vector<BlockNumber>& some,
                                   const std::vector<BlockNumber>& others) {
  std::vector<BlockNumber> all;
  std::set_union(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(all));
  return all;
}

}  // namespace

Volume::Volume(ObjectStore& store, std::shared_ptr<const BlockFormat> format,
               const BlockGeometry& geometry, const VolumeOptions& options)
    : geometry_(geometry),
      format_(std::move(format)),
      objects_(store, *format_, geometry.block_size(), options.guard),
      presence_(objects_,
                {.block_count = geometry.block_count(),
                 .requests = listing_requests(options.connections),
                 .map = options.map != nullptr ? options.map
                                               : std::make_shared<PresenceMap>(options.is_owner),
                 .frozen = options.frozen,
                 .witness = options.witness}),
      pool_(options.connections - 1) {
  traits_.size_bytes = geometry.size_bytes();
  traits_.minimum_block_size = 1;
  traits_.preferred_block_size = std::min(geometry.block_size(), kPreferred_bytes_max);
  traits_.maximum_block_size = 0xffffffff;
  traits_.can_write = traits_.can_flush = traits_.can_trim = true;
  traits_.can_fast_zero = traits_.can_extents = traits_.can_multi_conn = true;
  traits_.zero = traits_.fua = Support::native;
}

void Volume::pread(std::span<std::byte> buffer, std::uint64_t offset) {
  expect_on_disk({offset, buffer.size()}, geometry_.size_bytes());
  const auto pieces = geometry_.split({offset, buffer.size()});
  pool_.run(
      pieces.size(),
      [&](std::size_t i) {
        read_piece(pieces[i], buffer.subspan(pieces[i].offset_in_request, pieces[i].length));
      },
      WorkerPool::OnFailure::stop);
}

// An object that must be there and is not may have been removed or stored anew since the GET: the
// block is owned for a second look.
void Volume::read_piece(const BlockPiece& piece, std::span<std::byte> target) {
  if (!presence_.is_absent(piece.block)) {
    if (fetch_piece(piece, target)) return;
    if (presence_.is_missed(piece.block)) {
      const RangeLock::Guard owned(writing_, geometry_.range_of(piece.block));
      if (fetch_piece(piece, target)) return;
      presence_.check_not_missed(piece.block);
    }
  }
  std::memset(target.data(), 0, target.size());
}

bool Volume::fetch_piece(const BlockPiece& piece, std::span<std::byte> target) {
  if (piece.length == geometry_.block_size()) return objects_.get(piece.block, target);
  if (!geometry_.is_whole(piece)) {
    return objects_.get_part(piece.block, target, piece.offset_in_block);
  }
  std::vector<std::byte> body(geometry_.block_size());  // longer than the rest of the disk
  if (!objects_.get(piece.block, body)) return false;
  std::memcpy(target.data(), body.data(), target.size());
  return true;
}

void Volume::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                    Durability /*durability*/) {
  expect_on_disk({offset, buffer.size()}, geometry_.size_bytes());
  const auto pieces = geometry_.split({offset, buffer.size()});
  pool_.run(
      pieces.size(),
      [&](std::size_t i) {
        write_piece(pieces[i], buffer.subspan(pieces[i].offset_in_request, pieces[i].length));
      },
      WorkerPool::OnFailure::stop);
}

void Volume::write_piece(const BlockPiece& piece, std::span<const std::byte> source) {
  const RangeLock::Guard owned(writing_, geometry_.range_of(piece.block));
  if (piece.length == geometry_.block_size()) {
    put(piece.block, source);
    return;
  }
  std::vector<std::byte> body(geometry_.block_size());
  BlockObjects::Found found;
  if (!geometry_.is_whole(piece)) {
    found = get(piece.block, body);
    if (!found.exists) std::fill(body.begin(), body.end(), std::byte{0});
  }
  std::memcpy(body.data() + piece.offset_in_block, source.data(), source.size());
  put(piece.block, body, found.version);
}

BlockObjects::Found Volume::get(BlockNumber block, std::span<std::byte> data) {
  if (presence_.is_absent(block)) return {.exists = false, .version = ObjectVersion::absent()};
  auto found = objects_.get_to_change(block, data);
  if (!found.exists) presence_.check_not_missed(block);
  return found;
}

void Volume::put(BlockNumber block, std::span<const std::byte> data, const ObjectVersion& seen) {
  const bool is_absent = presence_.is_absent(block);
  if (format_->removes_zeros() && is_absent && !objects_.may_create(block) && is_zero(data)) return;
  presence_.change(std::span(&block, 1));
  const ObjectVersion known = is_absent ? ObjectVersion::absent() : seen;
  if (objects_.put(block, data, known) == BlockObjects::Put::stored) {
    presence_.stored(block);
  } else {
    presence_.removed(std::span(&block, 1));
  }
}

void Volume::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  const Coverage coverage = cover(geometry_, {offset, length});
  const RangeLock::Guard owned(writing_, coverage.touched);
  if (options.fast &&
      std::any_of(coverage.parts.begin(), coverage.parts.end(), [&](const auto& part) {
        return !presence_.is_absent(part.block) && objects_.exists(part.block);
      })) {
    throw Error::reported(ENOTSUP);  // an answer, not a failure: nothing for the log
  }
  const std::size_t parts = coverage.parts.size();
  pool_.run(parts + 1, [&](std::size_t i) {
    if (i < parts) {
      zero_piece(coverage.parts[i]);
    } else {
      discard(coverage.first_whole, coverage.end_whole);
    }
  });
}

// A block without an object is zeros already, and stays so unless it may get one.
void Volume::zero_piece(const BlockPiece& piece) {
  std::vector<std::byte> body(geometry_.block_size());
  objects_.wait_until_absence_lasts(piece.block, piece.block.next());
  const BlockObjects::Found found = get(piece.block, body);
  if (!found.exists && !objects_.may_create(piece.block)) return;
  if (!found.exists) std::fill(body.begin(), body.end(), std::byte{0});
  std::memset(body.data() + piece.offset_in_block, 0, piece.length);
  put(piece.block, body, found.version);
}

void Volume::trim(std::uint64_t length, std::uint64_t offset, Durability /*durability*/) {
  const Coverage coverage = cover(geometry_, {offset, length});
  if (coverage.first_whole >= coverage.end_whole) return;
  const Range whole{geometry_.offset_of(coverage.first_whole),
                    geometry_.range_of({coverage.end_whole.value - 1}).end() -
                        geometry_.offset_of(coverage.first_whole)};
  const RangeLock::Guard owned(writing_, whole);
  discard(coverage.first_whole, coverage.end_whole);
}

void Volume::discard(BlockNumber first, BlockNumber end) {
  objects_.wait_until_absence_lasts(first, end);
  while (first < end) {
    const StoredBlocks stored = presence_.to_remove(first, end, kDiscardRound);
    const std::vector<BlockNumber> blocks =
        in_either(stored.blocks, objects_.may_create(first, stored.known_to));
    look_before_removal(blocks);
    const std::size_t batches = (blocks.size() + BlockObjects::kBatch - 1) / BlockObjects::kBatch;
    pool_.run(
        batches,
        [&](std::size_t i) {
          const auto rest = std::span(blocks).subspan(i * BlockObjects::kBatch);
          const auto batch = rest.first(std::min(rest.size(), BlockObjects::kBatch));
          presence_.change(batch);
          const std::vector<BlockNumber> zeroed = objects_.remove(batch);
          presence_.removed(batch);
          for (const BlockNumber block : zeroed) presence_.stored(block);
        },
        WorkerPool::OnFailure::stop);
    first = stored.known_to;
  }
}

// After a crash that may be every hole of a large range.
void Volume::look_before_removal(const std::vector<BlockNumber>& blocks) {
  std::vector<BlockNumber> unknown = blocks;
  std::erase_if(unknown, [&](BlockNumber block) { return !objects_.wants_look(block); });
  pool_.run(
      unknown.size(), [&](std::size_t i) { objects_.look(unknown[i]); },
      WorkerPool::OnFailure::stop);
}

void Volume::extents(std::uint64_t length, std::uint64_t offset, bool only_one,
                     ExtentList& extents) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const BlockNumber first = geometry_.block_at(offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  const std::size_t limit = (only_one ? 1 : kExtentPages) * BlockObjects::kBatch;
  const StoredRuns stored = presence_.runs(first, end, limit);

  std::uint64_t position = offset;
  const auto add_up_to = [&](std::uint64_t block, ExtentType type) {
    const std::uint64_t to =
        block == end.value ? range.end() : std::min(geometry_.offset_of({block}), range.end());
    if (to > position) extents.append({position, to - position}, type);
    position = std::max(position, to);
  };
  for (const Range& run : stored.runs) {
    add_up_to(run.offset, kHole);
    add_up_to(run.end(), kData);
  }
  add_up_to(stored.known_to.value, kHole);
}

}  // namespace nbdstack
