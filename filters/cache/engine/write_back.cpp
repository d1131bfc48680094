#include "filters/cache/engine/write_back.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/engine/below.hpp"

namespace nbdstack {
namespace {

// Cuts sorted blocks into parts that are written at the same time. Adjacent blocks stay together,
// to become one request, up to the multiples of the group size. So do blocks that share a preferred
// block of the layer below: two writes of one object, each reading and writing all of it, would
// only wait for each other.
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

// Reads the missing parts of a completed request, with one read.
void read_missing(Layer& below, const WriteRequest& request, std::byte* data) {
  if (request.missing.empty()) return;
  const std::uint64_t first = request.missing.front().offset;
  std::vector<std::byte> old(request.missing.back().end() - first);
  below.pread(old, first);
  for (const Range& part : request.missing) {
    std::memcpy(data + (part.offset - request.range.offset), old.data() + (part.offset - first),
                part.length);
  }
}

}  // namespace

// Blocks that another caller is writing back or changing are checked again when that has ended.
// Then they are below, or dirty again, because they were changed meanwhile or failed, and this
// caller writes them. Waiting happens between the rounds, when none of our own write-backs is
// registered, so no two callers wait for each other's blocks.
//
// A page that a client changes between the commit and its turn is not sent: its present content is
// not committed, and the committed content is no longer in its place. Such blocks are retried once,
// all together; then one by one, while clients are kept from changing them.
void WriteBacks::run(Layer& below, std::vector<BlockNumber> blocks, std::vector<Range> zeros,
                     Durability durability) {
  WriteBack work{.below = below, .durability = durability};
  for (bool is_first = true;; is_first = false) {
    try_blocks(work, blocks);
    try_zeros(work, zeros);
    blocks = std::exchange(work.busy, {});
    zeros = std::exchange(work.busy_zeros, {});
    const std::vector<BlockNumber> changed = std::exchange(work.changed, {});
    if (blocks.empty() && zeros.empty() && changed.empty()) break;
    wait_until_not_busy(below, blocks, zeros);
    if (is_first) {
      blocks.insert(blocks.end(), changed.begin(), changed.end());
    } else {
      for (const BlockNumber block : changed) run_unchanged(work, block);
    }
    std::sort(blocks.begin(), blocks.end());
  }
  if (work.failure) throw Error(*work.failure);
}

void WriteBacks::wait_until_not_busy(const Layer& below, const std::vector<BlockNumber>& blocks,
                                     const std::vector<Range>& zeros) {
  const std::uint64_t preferred = below.traits().preferred_block_size;
  const MutexLock lock(state_.mutex);
  for (const BlockNumber block : blocks) {
    while (state_.changes_below.is_unit_busy(state_.geometry.range_of(block), preferred))
      state_.changed.wait(state_.mutex);
  }
  for (const Range& range : zeros) {
    while (state_.changes_below.is_busy(range)) state_.changed.wait(state_.mutex);
  }
}

void WriteBacks::run_unchanged(WriteBack& work, BlockNumber block) {
  const RangeLock::Guard unchanged(state_.changes, state_.geometry.range_of(block));
  try_blocks(work, {block});
}

void WriteBacks::try_blocks(WriteBack& work, const std::vector<BlockNumber>& blocks) {
  if (blocks.empty() || !commit_for(work)) return;
  const LayerTraits& below = work.below.traits();
  const auto in_blocks = [&](std::uint64_t size) {
    return std::max<std::uint64_t>(std::bit_ceil(size) / state_.settings.block_size, 1);
  };
  const auto groups = grouped(blocks, in_blocks(longest_write_bytes(below)),
                              in_blocks(std::max(1U, below.preferred_block_size)));
  run_in_parallel(work.below, threads_, groups.size(),
                  [&](std::size_t index) { run_group(work, groups[index]); });
}

void WriteBacks::run_group(WriteBack& work, std::span<const BlockNumber> blocks) {
  const Turn turn(turns_);
  WriteBackGroup group;
  group.blocks.reserve(blocks.size());
  group.pages.reserve(blocks.size());
  if (!claim_group(work, blocks, group)) return;
  // Other callers wait for claimed blocks, so these are finished in any case.
  try {
    for (const auto& block : group.blocks) state_.say("writing back", block.number);
    plan_group(work.below, group);
    copy_group(group);
    if (!group.failure) send_group(work.below, group, work.durability);
  } catch (const std::bad_alloc&) {
    group.fail(insist([] { return Error(ENOMEM, "cache: out of memory"); }));
  }
  finish_group(work, group);
}

// Claims the dirty and committed pages of these blocks, unless another change is under way below in
// the blocks, or in the range that completes them.
bool WriteBacks::claim_group(WriteBack& work, std::span<const BlockNumber> blocks,
                             WriteBackGroup& group) {
  MutexLock lock(state_.mutex);
  if (work.is_given_up(state_.settings.give_up_after)) return false;
  for (const BlockNumber block : blocks) {
    const Slot slot = state_.residents.find(block);
    if (state_.residents.is_unverified(slot)) state_.verify(slot);
  }
  work.changed.reserve(work.changed.size() + blocks.size());
  // After a block is claimed, no memory is needed any more.
  const std::uint64_t first = state_.geometry.offset_of(blocks.front());
  const Range range = state_.changes_below.unit_covering(
      {first, state_.geometry.range_of(blocks.back()).end() - first},
      work.below.traits().preferred_block_size);
  if (state_.changes_below.is_busy(range)) {
    work.busy.insert(work.busy.end(), blocks.begin(), blocks.end());  // nothing is claimed yet
    return false;
  }
  for (const BlockNumber block : blocks) {
    const Slot slot = state_.residents.find(block);
    if (slot == kNoSlot || state_.residents.is_unverified(slot)) continue;
    const auto [pages, sent, is_changed] = state_.residents.begin_write_back(slot);
    if (is_changed) work.changed.push_back(block);  // reserved
    if (sent == 0) continue;
    const Range block_range = state_.geometry.range_of(block);
    const Range wanted = work.wanted.intersection(block_range);
    const bool all_wanted =
        !wanted.empty() && (state_.pages_touched(block_range, wanted) & ~sent) == 0;
    group.blocks.push_back({slot, block, all_wanted});
    group.pages.push_back({.range = block_range,
                           .pages = sent,
                           .zero = pages.zero,
                           .hole = pages.hole,
                           .readable = pages.valid & ~(pages.unwritten() & ~sent)});
  }
  if (group.blocks.empty()) return false;
  state_.changes_below.begin_write_back(group.place, range);
  return true;
}

void WriteBacks::plan_group(const Layer& below, WriteBackGroup& group) const {
  group.requests =
      plan_writes(group.pages, {.disk_size_bytes = state_.geometry.size_bytes(),
                                .block_size = state_.settings.block_size,
                                .preferred_block_size = below.traits().preferred_block_size,
                                .longest_bytes = longest_write_bytes(below.traits())});
  group.failed.reserve(group.requests.size());
}

// Reads the content to be sent from the slots. Changes of the blocks wait only for this, so that no
// request contains half of a change.
void WriteBacks::copy_group(WriteBackGroup& group) {
  try {
    for (const WriteRequest& request : group.requests) {
      auto& data = group.data.emplace_back();
      if (request.kind != WriteRequest::Kind::data) continue;
      data = std::make_unique_for_overwrite<std::byte[]>(request.range.length);
      for (std::size_t i = 0; i < group.blocks.size(); ++i) {
        const BlockToWrite& block = group.pages[i];
        const Range part = request.range.intersection(block.range);
        if (part.empty()) continue;
        state_.pages.for_each_part(
            static_cast<std::uint32_t>(part.offset - block.range.offset),
            static_cast<std::uint32_t>(part.length), block.readable & ~block.zero,
            [&](std::uint32_t offset, std::uint32_t length, bool is_stored) {
              const std::uint64_t at = block.range.offset + offset - request.range.offset;
              const std::span part_of_data(data.get() + at, length);
              if (is_stored) {
                state_.store->read(group.blocks[i].slot, part_of_data, offset);
              } else {  // zeros, or missing still
                std::fill(part_of_data.begin(), part_of_data.end(), std::byte{0});
              }
            });
      }
    }
  } catch (const Error& error) {
    group.fail(error);
  }
  end_copying(group);
}

// It is called once; finish_group() does it if there was no memory for the copy.
void WriteBacks::end_copying(const WriteBackGroup& group) {
  const MutexLock lock(state_.mutex);
  for (const auto& block : group.blocks) state_.residents.end_copying(block.slot);
  state_.changed.notify_all();
}

void WriteBacks::send_group(Layer& below, WriteBackGroup& group, Durability durability) {
  const Durability wanted = durability_of(durability);
  for (std::size_t i = 0; i < group.requests.size(); ++i) {
    const WriteRequest& request = group.requests[i];
    state_.expect_on_disk(request.range);
    try {
      switch (request.kind) {
        case WriteRequest::Kind::data:
          read_missing(below, request, group.data[i].get());
          below.pwrite({group.data[i].get(), request.range.length}, request.range.offset,
                       supported(wanted, below));
          break;
        case WriteRequest::Kind::zero:
        case WriteRequest::Kind::hole:
          zero_below(below, request.range, request.kind == WriteRequest::Kind::hole,
                     supported(wanted, below));
          break;
      }
    } catch (const Error& error) {
      group.failed.push_back(request.range);
      if (!group.failure) group.failure = error;
    }
  }
  try {
    if (state_.store->is_durable()) complete_durability(below, wanted);
  } catch (const Error& error) {
    group.fail(error);
  }
}

void WriteBacks::finish_group(WriteBack& work, WriteBackGroup& group) {
  MutexLock lock(state_.mutex);
  for (std::size_t i = 0; i < group.blocks.size(); ++i) {
    const auto& [slot, number, all_wanted] = group.blocks[i];
    const BlockToWrite& sent = group.pages[i];
    PageMask failed = group.all_failed ? sent.pages : 0;
    for (const Range& range : group.failed) {
      failed |= state_.pages_touched(sent.range, range);
    }
    failed &= sent.pages;
    state_.residents.end_write_back(slot, sent.pages, failed);
    if (failed == 0 && all_wanted) work.durable_bytes += sent.range.length;
    state_.give_back(slot);
  }
  note_end(work, group.place, group.failure);
}

}  // namespace nbdstack
