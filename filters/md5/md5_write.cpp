// Md5Layer: writing, zeroing, trimming.
#include <algorithm>
#include <vector>

#include "common/block/expect_on_disk.hpp"
#include "common/error.hpp"
#include "filters/md5/md5_layer.hpp"
#include "filters/md5/parallel_md5.hpp"

namespace nbdstack {

void Md5Layer::pwrite(std::span<const std::byte> buffer, std::uint64_t offset,
                      Durability durability) {
  expect_on_disk({offset, buffer.size()}, geometry_.size_bytes());
  const std::uint64_t end = offset + buffer.size();
  for (std::uint64_t position = offset; position < end;) {
    const Blocks blocks = blocks_of({position, end - position});
    // In the order that excludes deadlock: entries in the table first, then the range.
    const auto reserved = shared_->digests.table().reserve(
        blocks.first, std::min(blocks.count, shared_->digests.most_in_a_change()));
    const BlockNumber after{blocks.first.value + reserved.blocks};
    const Range part{position, std::min(end, geometry_.offset_of(after)) - position};
    const RangeLock::Guard owned(shared_->changes, widened(part));
    wait_for_delay(blocks_of(part));
    const auto data_of = [&](const Range& range) {
      return buffer.subspan(range.offset - offset, range.length);
    };
    change(
        part,
        [&](const Range& piece) {
          const auto merge = [data = data_of(piece)](std::span<std::byte> target) {
            std::copy(data.begin(), data.end(), target.begin());
          };
          fold(piece, merge, durability);
        },
        [&](const Range& run) { write_run(data_of(run), run.offset, durability); });
    position = part.end();
  }
}

void Md5Layer::zero(std::uint64_t length, std::uint64_t offset, const ZeroOptions& options) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const RangeLock::Guard owned(shared_->changes, widened(range));
  wait_for_delay(blocks_of(range));
  const auto fold_zeros = [&](const Range& piece) {
    if (options.fast) {
      throw Error(ENOTSUP, "md5: zeroing a part of a remembered block is not fast");
    }
    const auto merge = [](std::span<std::byte> target) {
      std::fill(target.begin(), target.end(), std::byte{0});
    };
    fold(piece, merge, options.durability);
  };
  change(range, fold_zeros, [&](const Range& run) { zero_run(run, options); });
}

void Md5Layer::trim(std::uint64_t length, std::uint64_t offset, Durability durability) {
  const Range range{offset, length};
  expect_on_disk(range, geometry_.size_bytes());
  const RangeLock::Guard owned(shared_->changes, widened(range));
  wait_for_delay(blocks_of(range));
  explain("md5: trim of {} bytes at {}: unknown from now on", length, offset);
  Digests::Change change(shared_->digests, below(), geometry_, range, Digests::Outcome::unknown);
  below().trim(length, offset, durability);
  change.commit([](BlockNumber) { return std::nullopt; });
}

// Parts of remembered blocks at the ends of a change are folded; the rest is changed directly, in
// one run. The ends come first, so that nothing of the run has changed if one of them cannot be
// folded.
template <typename Fold, typename Direct>
void Md5Layer::change(const Range& range, Fold&& fold, Direct&& direct) {
  Range run = range;
  const Range head = geometry_.range_of(geometry_.block_at(range.offset)).intersection(range);
  const Range tail = geometry_.range_of(geometry_.block_at(range.end() - 1)).intersection(range);
  if (must_fold(head)) {
    fold(head);
    run = {head.end(), range.end() - head.end()};
  }
  if (tail != head && must_fold(tail)) {
    fold(tail);
    run.length -= tail.length;
  }
  if (!run.empty()) direct(run);
}

bool Md5Layer::must_fold(const Range& piece) {
  const BlockNumber block = geometry_.block_at(piece.offset);
  const std::uint32_t length = geometry_.length_of(block);
  if (piece.length >= length || !trusts_digests()) return false;
  const auto record = shared_->digests.known(block, length);
  return record && !record->doubtful;
}

void Md5Layer::fold(const Range& piece, const Merge& merge, Durability durability) {
  const BlockNumber block = geometry_.block_at(piece.offset);
  const Range whole = geometry_.range_of(block);
  explain("md5: change of a part of block {}: folded into the whole", block.value);
  std::vector<std::byte> data(whole.length);
  read_until_right(block, data, Owner::caller);
  merge(std::span(data).subspan(piece.offset - whole.offset, piece.length));
  write_run(data, whole.offset, durability);
}

// Writes whole blocks, and parts of blocks that are not remembered. Digests are computed while the
// layer below works, if they are enough to be worth a thread.
void Md5Layer::write_run(std::span<const std::byte> data, std::uint64_t offset,
                         Durability durability) {
  const Range run{offset, data.size()};
  expect_on_disk(run, geometry_.size_bytes());
  const std::vector<BlockPiece> pieces = geometry_.split(run);
  std::vector<std::optional<Content>> contents(pieces.size());
  Digests::Change change(shared_->digests, below(), geometry_, run, Digests::Outcome::contents);
  const auto digest = [&](std::size_t index) {
    const BlockPiece& piece = pieces[index];
    if (!geometry_.is_whole(piece)) {
      explain("md5: write of a part of block {}: unknown, passed", piece.block.value);
      return;
    }
    const Md5Digest found = md5(data.subspan(piece.offset_in_request, piece.length));
    contents[index] = Content{found, piece.length};
    change.announce(piece.block, *contents[index]);
    explain("md5: write of block {}: MD5 {}", piece.block.value, to_hex(found));
  };
  hash_beside(shared_->hashing, data.size(), pieces.size(), digest,
              [&] { below().pwrite(data, offset, durability); });
  change.commit([&](BlockNumber block) { return contents[block.value - pieces[0].block.value]; });
}

void Md5Layer::zero_run(const Range& run, const ZeroOptions& options) {
  const Blocks blocks = blocks_of(run);
  // The parts at the ends may get an entry, which ends with the pins.
  const DigestTable::Pins pins =
      shared_->digests.table().reserve_if_free(blocks.first, blocks.count);
  const auto zeros = [&](BlockNumber block) -> std::optional<Content> {
    if (!run.contains(geometry_.range_of(block))) return std::nullopt;
    const std::uint32_t length = geometry_.length_of(block);
    return Content{digest_of_zeros(length), length};
  };
  Digests::Change change(shared_->digests, below(), geometry_, run, Digests::Outcome::contents);
  for (const BlockNumber block : shared_->digests.table().entries_in(blocks.first, blocks.count)) {
    const auto content = zeros(block);
    if (!content) continue;
    change.announce(block, *content);
    explain("md5: zeroing of block {}: remembered", block.value);
  }
  try {
    below().zero(run.length, run.offset, options);
  } catch (const Error& error) {
    // Not fast: nothing has been zeroed.
    if (options.fast && error.code() == ENOTSUP) change.undo();
    throw;
  }
  change.commit(zeros);
}

void Md5Layer::wait_for_delay(const Blocks& blocks) {
  if (shared_->options.min_write_delay == Duration::zero()) return;
  const TimePoint due = shared_->digests.table().may_change_at(blocks.first, blocks.count);
  try {
    for (TimePoint now = shared_->clock.now(); now < due; now = shared_->clock.now()) {
      explain("md5: write of block {} waits (md5-min-write-delay)", blocks.first.value);
      shared_->clock.sleep_for(due - now);
    }
  } catch (const Error& error) {
    // The server stops, or the client has disconnected: better an early write than a lost one.
    if (error.code() != ESHUTDOWN) throw;
  }
}

}  // namespace nbdstack
