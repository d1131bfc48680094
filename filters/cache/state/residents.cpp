#include "filters/cache/state/residents.hpp"

#include <algorithm>
#include <new>

#include "common/invariant.hpp"
#include "common/log.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/policy/make_policy.hpp"

namespace nbdstack {
namespace {

std::unique_ptr<EvictionPolicy> policy_of(const CacheSettings& settings) {
  return make_eviction_policy(
      settings.policy, (settings.protect_bytes + settings.block_size - 1) / settings.block_size);
}

}  // namespace

Residents::Residents(const CacheSettings& settings, const BlockGeometry& geometry,
                     const PageGeometry& pages, CacheLog& log, Fetches& fetches, Pressure& pressure,
                     const Schedule& schedule)
    : settings_(settings),
      geometry_(geometry),
      pages_(pages),
      log_(log),
      fetches_(fetches),
      pressure_(pressure),
      schedule_(schedule),
      table_(pressure.max_slots(), pages.pages_per_block(), policy_of(settings)) {}

// More may have been recovered than the cache may hold now: then it is above its thresholds, and
// requests and the background shrink it as usual.
void Residents::take_over(const Recovered& recovered) {
  for (const RecoveredBlock& block : recovered.blocks) {
    table_.insert_at(block.slot, block.block);
    table_[block.slot].unverified = true;
    table_.set_pages(block.slot, block.pages);
  }
  table_.end_recovery(recovered.slots);
  for (const RecoveredZeros& zeros : recovered.zeros) zeros_.assign(zeros.range, zeros.may_trim);
  pressure_.note_occupied(table_.cached_blocks());
}

// --- What is cached ---

std::vector<Slot> Residents::cached_in(const Range& range) const {
  std::vector<Slot> slots;
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  if (end.value - first.value > table_.cached_blocks()) {
    // A trim of terabytes visits the cached blocks, not every possible one.
    table_.policy().in_eviction_order([&](Slot slot) {
      const BlockNumber block = table_[slot].block();
      if (block >= first && block < end) slots.push_back(slot);
      return true;
    });
    return slots;
  }
  for (BlockNumber block = first; block < end; ++block) {
    if (const Slot slot = table_.find(block); slot != kNoSlot) slots.push_back(slot);
  }
  return slots;
}

std::vector<Slot> Residents::in_eviction_order() const {
  std::vector<Slot> order;
  order.reserve(table_.cached_blocks());
  table_.policy().in_eviction_order([&](Slot slot) {
    order.push_back(slot);
    return true;
  });
  return order;
}

// --- What the layer below does not have ---

std::uint64_t Residents::unwritten_bytes() const {
  std::uint64_t bytes = 0;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    const std::uint64_t length = geometry_.length_of(table_[slot].block());
    const PageMask on_their_way =
        table_[slot].writing ? pages_.all(static_cast<std::uint32_t>(length)) : 0;
    pages_.for_each_run(table_.pages(slot).unwritten() | on_their_way, length,
                        [&](std::uint32_t, std::uint32_t run_bytes) { bytes += run_bytes; });
  }
  for (const auto& run : zeros_.overlapping({0, geometry_.size_bytes()})) bytes += run.range.length;
  return bytes;
}

std::vector<BlockNumber> Residents::unwritten_blocks(const Range& range) const {
  std::vector<BlockNumber> blocks;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    const BlockNumber block = table_[slot].block();
    if (geometry_.range_of(block).overlaps(range)) blocks.push_back(block);
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

// It is sorted from the oldest on, so the first one that is not due ends the search.
std::vector<BlockNumber> Residents::overdue_blocks() const {
  std::vector<BlockNumber> blocks;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    if (!schedule_.is_overdue(table_[slot].dirty_since)) break;
    blocks.push_back(table_[slot].block());
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

std::optional<TimePoint> Residents::oldest_unwritten_since() const {
  const Slot oldest = table_.unwritten().back();
  if (oldest == kNoSlot) return std::nullopt;
  return schedule_.time_of(table_[oldest].dirty_since);
}

std::vector<BlockNumber> Residents::next_to_evict(std::size_t count, const IsBusy& is_busy) const {
  std::vector<BlockNumber> blocks;
  table_.policy().in_eviction_order([&](Slot slot) {
    const BlockNumber block = table_[slot].block();
    const bool is_ready =
        !table_[slot].writing && table_.pages(slot).unwritten() != 0 && !is_busy(block);
    if (is_ready) blocks.push_back(block);
    return blocks.size() < count;
  });
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

std::vector<BlockNumber> Residents::oldest_unwritten(std::size_t count,
                                                     const IsBusy& is_busy) const {
  std::vector<BlockNumber> blocks;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot && blocks.size() < count;
       slot = unwritten.newer(slot)) {
    const BlockNumber block = table_[slot].block();
    if (!table_[slot].writing && !is_busy(block)) blocks.push_back(block);
  }
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

BlockNumber Residents::first_damaged() const {
  Slot first = kNoSlot;
  table_.policy().in_eviction_order([&](Slot slot) {
    const bool damaged = table_.pages(slot).damaged() != 0;
    if (damaged && (first == kNoSlot || table_[slot].block() < table_[first].block())) first = slot;
    return true;
  });
  return table_[first].block();
}

// --- Ranges of zeros ---

std::vector<Range> Residents::zeros_in(const Range& range) const {
  std::vector<Range> zeros;
  for (const auto& run : zeros_.overlapping(range)) zeros.push_back(run.range);
  return zeros;
}

void Residents::remember_zeros(const Range& blocks, bool may_trim,
                               const std::vector<Slot>& cached) {
  INVARIANT(blocks.offset % settings_.block_size == 0, blocks.offset);
  INVARIANT(blocks.end() % settings_.block_size == 0 || blocks.end() == geometry_.size_bytes(),
            blocks.end());
  fetches_.supersede(blocks);
  RunMap<bool> added;
  added.assign(blocks, may_trim);
  for (const Slot slot : cached) {
    if (table_[slot].writing) added.erase(geometry_.range_of(table_[slot].block()));
  }
  const auto runs = added.overlapping(blocks);
  // The following is done completely or not at all: a block is in a range of zeros or in a slot.
  for (const auto& run : runs) {
    insist([&] { zeros_.assign(run.range, may_trim); });
    log_.zeros_added(run.range, may_trim);
  }
  for (const Slot slot : cached) {
    if (!table_[slot].writing) drop(slot);
  }
  COSTLY_INVARIANT(std::all_of(cached.begin(), cached.end(),
                               [this](Slot slot) {
                                 return !is_attached(slot) || !is_zeros(table_[slot].block());
                               }),
                   blocks.offset, blocks.length);
  pressure_.note_zero_ranges(zeros_.size());
}

void Residents::zeros_are_below(const Range& range) {
  insist([&] { zeros_.erase(range); });
  log_.zeros_removed(range);
}

// --- Slots ---

std::optional<Slot> Residents::take_slot(BlockNumber block) {
  if (!has_free_slot()) {
    if (evict(1) == 0 || !table_.has_room()) return std::nullopt;
  }
  const Slot slot = table_.insert(block);
  try {
    log_.taken(slot);
  } catch (const std::bad_alloc&) {  // as if it had not been requested
    table_.erase(slot);
    throw;
  }
  table_[slot].cached_since = schedule_.clean_tick();
  pressure_.note_occupied(occupied());
  return slot;
}

bool Residents::has_free_slot() {
  if (pressure_.is_disk_full() && pressure_.is_time_to_try(std::chrono::steady_clock::now())) {
    // The next insert() takes it. If it cannot be stored either, the disk is full again.
    pressure_.trying(table_.grow_by_one());
  }
  return table_.has_room() && occupied() < table_.max_slots();
}

bool Residents::may_take_slot() {
  return next_victim() != kNoSlot || (table_.has_room() && occupied() < table_.max_slots());
}

void Residents::adopt_zeros(Slot slot) {
  const BlockNumber block = table_[slot].block();
  const auto run = zeros_.find(geometry_.offset_of(block));
  if (!run) return;
  const PageMask all = pages_.all(geometry_.length_of(block));
  insist([&] { zeros_.erase(geometry_.range_of(block)); });
  log_.zeroed(slot, block, {.pages = all}, run->value);
  log_.zeros_removed(geometry_.range_of(block));
  set_pages(slot,
            {.valid = all, .dirty = all, .zero = all, .hole = run->value ? all : PageMask{0}});
}

bool Residents::may_evict(Slot slot) const {
  const BlockTable::Entry& entry = table_[slot];
  return !entry.writing && entry.pins == 0 && table_.pages(slot).dirty == 0 && log_.may_reuse(slot);
}

Slot Residents::next_victim() {
  return table_.policy().victim([this](Slot slot) { return may_evict(slot); });
}

std::size_t Residents::evict(std::size_t count, bool with_storage) {
  std::size_t evicted = 0;
  for (; evicted < count; ++evicted) {
    const Slot victim = next_victim();
    if (victim == kNoSlot) break;
    if (settings_.verbose) {
      const BlockNumber block = table_[victim].block();
      log::debug("cache: reclaiming block {} (offset {})", block.value, geometry_.offset_of(block));
    }
    drop(victim, Removal::evicted, with_storage);
    ++evictions_;
  }
  return evicted;
}

bool Residents::drop_expired(Slot first, Slot count) {
  const Slot end = std::min<Slot>(table_.slots(), first + count);
  for (Slot slot = first; slot < end; ++slot) {
    const BlockTable::Entry& entry = table_[slot];
    if (entry.is_attached() && may_evict(slot) && schedule_.is_expired(entry.cached_since)) {
      drop(slot);
    }
  }
  return end < table_.slots();
}

void Residents::unpin(Slot slot) {
  table_.unpin(slot);
  const BlockTable::Entry& entry = table_[slot];
  if (!entry.is_attached()) {
    note_vacated(slot);
  } else if (entry.pins == 0 && table_.pages(slot) == Pages()) {
    drop(slot);
  }
}

// A cache that was made smaller has more slots than it may fill: a slot's storage counts until it
// is given back, so the slot is not reused before.
void Residents::drop(Slot slot, Removal why, bool with_storage) {
  INVARIANT(!table_[slot].writing, slot);
  if (with_storage || table_.slots() > table_.max_slots()) {
    insist([&] { to_discard_.push_back(slot); });
    table_.pin(slot);
  }
  fetches_.supersede(table_[slot].block());
  log_.dropped(slot);
  table_.erase(slot, why);
  note_vacated(slot);
}

void Residents::retire(Slot slot) {
  INVARIANT(!table_[slot].writing && !is_unwritten(slot), slot);
  fetches_.supersede(table_[slot].block());
  log_.dropped(slot);
  table_.retire(slot);
  note_vacated(slot);
}

void Residents::note_vacated(Slot slot) {
  const BlockTable::Entry& entry = table_[slot];
  if (!entry.is_attached() && entry.pins == 0) log_.vacated(slot);
}

std::vector<Slot> Residents::to_discard() {
  const auto used = std::partition(to_discard_.begin(), to_discard_.end(),
                                   [this](Slot slot) { return table_[slot].pins > 1; });
  std::vector<Slot> slots(used, to_discard_.end());
  to_discard_.erase(used, to_discard_.end());
  return slots;
}

void Residents::discarded(Slot slot) {
  table_.unpin(slot);
  note_vacated(slot);
}

}  // namespace nbdstack
