#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "filters/cache/block_cache.hpp"
#include "filters/cache/write_back.hpp"

namespace nbdstack {
namespace {

// Neighbouring dirty blocks go down as one request of up to this size; more where the layer below
// prefers larger blocks. Large enough that latency matters little, small enough that a flush of a
// few MiB still uses several requests at once.
constexpr std::uint64_t kWriteBackGroup_bytes = 4ULL << 20U;

// After as many failures as requests can be under way at once, the layer below is taken to be out
// of order, and the rest is not tried: thousands of blocks, each failing after a minute, are hours.
constexpr std::size_t kFailuresToGiveUp = 16;

std::uint64_t group_size_bytes(const LayerTraits& below) {
  std::uint64_t size = std::max<std::uint64_t>(kWriteBackGroup_bytes, below.preferred_block_size);
  if (below.maximum_block_size != 0) {
    size = std::min<std::uint64_t>(size, std::bit_floor(below.maximum_block_size));
  }
  return size;
}

// Cuts sorted blocks into parts that are written at the same time. Blocks side by side stay
// together, to become one request, up to the multiples of the group size; and so do blocks that
// share a preferred block of the layer below: two writes of one object, each reading and writing
// all of it, would only wait for each other.
std::vector<std::span<const BlockNumber>> grouped(const std::vector<BlockNumber>& blocks,
                                                  std::uint64_t blocks_per_group,
                                                  std::uint64_t blocks_per_preferred) {
  const auto together = [&](BlockNumber a, BlockNumber b) {
    return a.value / blocks_per_group == b.value / blocks_per_group &&
           (a.next() == b || a.value / blocks_per_preferred == b.value / blocks_per_preferred);
  };
  std::vector<std::span<const BlockNumber>> groups;
  for (std::size_t first = 0; first < blocks.size();) {
    std::size_t end = first + 1;
    while (end < blocks.size() && together(blocks[end - 1], blocks[end])) ++end;
    groups.emplace_back(blocks.data() + first, end - first);
    first = end;
  }
  return groups;
}

}  // namespace

void BlockCache::flush(Layer& below) {
  if (settings_.mode == CacheMode::unsafe) return;
  write_back_all(below);
  if (below.traits().can_flush) below.flush();
}

void BlockCache::write_back_all(Layer& below) {
  Lock lock(mutex_);
  std::vector<BlockNumber> blocks = unwritten_blocks(lock, {0}, {geometry_.block_count()});
  lock.unlock();
  if (!blocks.empty()) write_back(below, std::move(blocks), Durability::on_flush);
}

std::vector<BlockNumber> BlockCache::unwritten_blocks(Lock& /*lock*/, BlockNumber first,
                                                      BlockNumber end) const {
  std::vector<BlockNumber> blocks;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    const BlockNumber block = table_[slot].block;
    if (block >= first && block < end) blocks.push_back(block);
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

// What somebody else is busy with is looked at again when he is done: then it is below, unless it
// was changed after he had begun or he failed, and in both cases it is dirty again and ours to
// write. Waiting happens between the rounds, when nothing is marked as being written by us, so two
// who wait for each other's blocks cannot exist.
void BlockCache::write_back(Layer& below, std::vector<BlockNumber> blocks, Durability durability) {
  WriteBack work{.below = below, .durability = durability};
  while (true) {
    write_back_dirty(work, blocks);
    if (work.busy.empty()) break;
    blocks = std::exchange(work.busy, {});
    std::sort(blocks.begin(), blocks.end());
    Lock lock(mutex_);
    for (const BlockNumber block : blocks) {
      changed_.wait(lock, [&] { return !is_busy(lock, table_.find(block)); });
    }
  }
  if (work.failure) throw Error(*work.failure);
}

bool BlockCache::is_busy(const Lock& /*lock*/, Slot slot) const {
  if (slot == kNoSlot) return false;
  const BlockTable::Entry& entry = table_[slot];
  return entry.state == BlockState::writing || entry.state == BlockState::rewritten ||
         (entry.state == BlockState::dirty && entry.holds > 0);
}

void BlockCache::write_back_dirty(WriteBack& work, const std::vector<BlockNumber>& blocks) {
  const LayerTraits& below = work.below.traits();
  const auto in_blocks = [&](std::uint64_t size) {
    return std::max<std::uint64_t>(size / settings_.block_size, 1);
  };
  const auto groups =
      grouped(blocks, in_blocks(group_size_bytes(below)), in_blocks(below.preferred_block_size));
  run_in_parallel(work.below, groups.size(),
                  [&](std::size_t index) { write_back_group(work, groups[index]); });
}

void BlockCache::write_back_group(WriteBack& work, std::span<const BlockNumber> group) {
  while (true) {
    const WriteBackRun run = claim_run(work, group);
    if (run.slots.empty()) return;
    std::optional<Error> failure;
    try {
      std::vector<std::byte> buffer(run.range.length);
      std::uint64_t position = 0;
      for (const Slot slot : run.slots) {
        const auto length =
            std::min<std::uint64_t>(settings_.block_size, run.range.length - position);
        file_.read(slot, std::span(buffer).subspan(position, length), 0);
        position += length;
      }
      work.below.pwrite(buffer, run.range.offset, work.durability);
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = Error(ENOMEM, "cache: out of memory while writing back");
    }
    finish_run(work, run, failure);
  }
}

// Takes the first dirty blocks of the group that lie side by side, marks them as being written and
// pins them; takes them and what stood before them off the group. An empty run: nothing is left in
// the group.
BlockCache::WriteBackRun BlockCache::claim_run(WriteBack& work,
                                               std::span<const BlockNumber>& group) {
  WriteBackRun run;
  const Lock lock(mutex_);
  if (work.failed_runs >= kFailuresToGiveUp) return run;
  while (!group.empty()) {
    const BlockNumber block = group.front();
    const Slot slot = table_.find(block);
    const bool ready =
        slot != kNoSlot && table_[slot].state == BlockState::dirty && table_[slot].holds == 0;
    const bool adjacent = run.slots.empty() || run.range.end() == geometry_.offset_of(block);
    if (!run.slots.empty() && !(ready && adjacent)) break;
    group = group.subspan(1);
    if (!ready) {
      if (is_busy(lock, slot)) work.busy.push_back(block);
      continue;
    }
    if (run.slots.empty()) run.range = {geometry_.offset_of(block), 0};
    run.range.length += geometry_.length_of(block);
    run.slots.push_back(slot);
    table_.pin(slot);
    table_.set_state(slot, BlockState::writing);
    say("writing back", block);
  }
  return run;
}

void BlockCache::finish_run(WriteBack& work, const WriteBackRun& run,
                            const std::optional<Error>& failure) {
  const Lock lock(mutex_);
  for (const Slot slot : run.slots) {
    const bool unchanged = table_[slot].state == BlockState::writing;
    table_.set_state(slot, !failure && unchanged ? BlockState::clean : BlockState::dirty);
    table_.unpin(slot);
  }
  if (failure) ++work.failed_runs;
  if (!failure) work.written_blocks += run.slots.size();
  if (failure && !work.failure) work.failure = failure;
  changed_.notify_all();
}

// FUA for what has been written to the cache. Where somebody else's write-back took the blocks
// below, it did so without FUA, and a flush completes it.
void BlockCache::make_durable(Layer& below, const std::vector<Range>& ranges) {
  std::vector<BlockNumber> blocks;
  for (const Range& range : ranges) {
    for (const BlockPiece& piece : geometry_.split(range)) blocks.push_back(piece.block);
  }
  const bool native = below.traits().fua != Support::none;
  WriteBack work{.below = below, .durability = native ? Durability::fua : Durability::on_flush};
  write_back_dirty(work, blocks);
  if (work.failure) throw Error(*work.failure);
  const bool all_by_us = native && work.busy.empty() && work.written_blocks == blocks.size();
  if (all_by_us) return;
  write_back(below, std::move(blocks), Durability::on_flush);
  if (below.traits().can_flush) below.flush();
}

}  // namespace nbdstack
