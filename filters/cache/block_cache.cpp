#include "filters/cache/block_cache.hpp"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "common/error.hpp"
#include "common/log.hpp"
#include "common/sync/insist.hpp"
#include "filters/cache/policy/make_policy.hpp"

namespace nbdstack {
namespace {

Slot percent_of(Slot slots, unsigned percent) {
  return static_cast<Slot>(std::uint64_t{slots} * percent / 100);
}

std::unique_ptr<EvictionPolicy> policy_of(const CacheSettings& settings) {
  return make_eviction_policy(
      settings.policy, (settings.protect_bytes + settings.block_size - 1) / settings.block_size);
}

}  // namespace

BlockCache::BlockCache(const CacheSettings& settings, std::uint64_t size_bytes,
                       std::unique_ptr<SlotStore> store, WorkerPool& reads, WorkerPool& writes)
    : settings_(settings),
      geometry_(size_bytes, settings.block_size),
      pages_(settings.block_size),
      store_(std::move(store)),
      reads_(reads),
      writes_(writes),
      below_writers_(static_cast<std::ptrdiff_t>(settings.threads)),
      table_(slots_for(settings), pages_.pages_per_block(), policy_of(settings)),
      high_slots_(percent_of(table_.max_slots(), settings.high_threshold_percent)),
      low_slots_(percent_of(table_.max_slots(), settings.low_threshold_percent)),
      fetches_(geometry_),
      changes_below_(size_bytes, settings.block_size),
      schedule_(settings, store_->is_durable()) {
  take_over(store_->recover());
}

// More may have been recovered than the cache may hold now: then it is above its thresholds, and
// requests and the background bring it down as ever.
void BlockCache::take_over(const Recovered& recovered) {
  for (const RecoveredBlock& block : recovered.blocks) {
    table_.insert_at(block.slot, block.block);
    table_[block.slot].unverified = true;
    table_.set_pages(block.slot, block.pages);
  }
  table_.end_recovery(recovered.slots);
  for (const RecoveredZeros& zeros : recovered.zeros) zeros_.assign(zeros.range, zeros.may_trim);
  pressed_ = table_.cached_blocks() > high_slots_;
  if (table_.unwritten().size() > 0 || !zeros_.empty()) schedule_.want_everything();
}

Slot BlockCache::slots_for(const CacheSettings& settings) {
  constexpr Slot kMost = kNoSlot - 2;  // two values are taken by the lists
  if (settings.max_size_bytes == 0) return kMost;
  const std::uint64_t slots = settings.max_size_bytes / settings.block_size;
  return static_cast<Slot>(std::clamp<std::uint64_t>(slots, 1, kMost));
}

std::uint64_t BlockCache::cached_bytes() const {
  const MutexLock lock(mutex_);
  return std::uint64_t{table_.cached_blocks()} * settings_.block_size;
}

std::uint64_t BlockCache::capacity_bytes() const {
  const MutexLock lock(mutex_);
  return std::max<std::uint64_t>(1, table_.max_slots()) * settings_.block_size;
}

std::uint64_t BlockCache::unwritten_bytes() const {
  const MutexLock lock(mutex_);
  std::uint64_t bytes = 0;
  const SlotList& unwritten = table_.unwritten();
  for (Slot slot = unwritten.back(); slot != kNoSlot; slot = unwritten.newer(slot)) {
    const std::uint64_t length = geometry_.length_of(table_[slot].block());
    const PageMask on_their_way =
        table_[slot].writing ? pages_.all(static_cast<std::uint32_t>(length)) : 0;
    for_each_page_run(
        table_.pages(slot).unwritten() | on_their_way, [&](unsigned first, unsigned count) {
          bytes +=
              std::min(length - pages_.offset_of(first), std::uint64_t{count} * pages_.page_size());
        });
  }
  for (const auto& run : zeros_.overlapping({0, geometry_.size_bytes()})) bytes += run.range.length;
  return bytes;
}

bool BlockCache::has_unwritten() const {
  const MutexLock lock(mutex_);
  return table_.unwritten().size() > 0 || !zeros_.empty();
}

void BlockCache::close() {
  if (!store_->is_durable()) return;
  std::vector<Slot> order;
  {
    const MutexLock lock(mutex_);
    order.reserve(table_.cached_blocks());
    table_.policy().in_eviction_order([&](Slot slot) {
      order.push_back(slot);
      return true;
    });
  }
  commit();
  store_->close(order);
}

std::size_t BlockCache::occupied() const {
  return table_.cached_blocks() + store_->extra_slots();
}

// A slot for an absent block, from what is free or by dropping a clean block. Nothing: write back
// first.
std::optional<Slot> BlockCache::take_slot(BlockNumber block) {
  if (!has_free_slot()) {
    const Slot victim = next_victim();
    if (victim == kNoSlot) return std::nullopt;
    evict(victim);
    if (!table_.has_room()) return std::nullopt;
  }
  const Slot slot = table_.insert(block);
  try {
    store_->taken(slot);
  } catch (const std::bad_alloc&) {  // as if it had not been asked for
    table_.erase(slot);
    throw;
  }
  table_[slot].cached_since = schedule_.clean_tick();
  if (occupied() > high_slots_) pressed_ = true;
  return slot;
}

bool BlockCache::may_evict(Slot slot) const {
  const BlockTable::Entry& entry = table_[slot];
  return !entry.writing && entry.pins == 0 && table_.pages(slot).dirty == 0 &&
         store_->may_reuse(slot);
}

Slot BlockCache::next_victim() {
  return table_.policy().victim([this](Slot slot) REQUIRES(mutex_) { return may_evict(slot); });
}

void BlockCache::evict(Slot slot) {
  say("reclaiming", table_[slot].block());
  drop(slot, EvictionPolicy::Removal::evicted);
}

// A cache that has been made smaller has more slots than it may fill: a slot's storage counts until
// it is given back, so it is not used again before that.
void BlockCache::drop(Slot slot, EvictionPolicy::Removal why, bool with_storage) {
  if (with_storage || table_.slots() > table_.max_slots()) {
    insist([&] {
      mutex_.is_held();
      to_discard_.push_back(slot);
    });
    table_.pin(slot);
  }
  fetches_.supersede(table_[slot].block());
  store_->dropped(slot);
  table_.erase(slot, why);
  note_vacated(slot);
}

// The slot belongs to no block, or a pin has gone. Its storage is nobody's when both are so.
void BlockCache::note_vacated(Slot slot) {
  const BlockTable::Entry& entry = table_[slot];
  if (!entry.is_attached() && entry.pins == 0) store_->vacated(slot);
}

// A reader may still be copying from such a slot: then its turn comes later.
void BlockCache::discard_dropped() {
  const auto used =
      std::partition(to_discard_.begin(), to_discard_.end(),
                     [this](Slot slot) REQUIRES(mutex_) { return table_[slot].pins > 1; });
  const std::vector<Slot> slots(used, to_discard_.end());
  if (slots.empty()) return;
  to_discard_.erase(used, to_discard_.end());
  {
    const MutexUnlock unlocked(mutex_);
    for (const Slot slot : slots) {
      try {
        store_->discard(slot);
      } catch (const std::exception&) {
        // Its storage is used on.
      }
    }
  }
  for (const Slot slot : slots) {
    table_.unpin(slot);
    note_vacated(slot);
  }
}

void BlockCache::retire(Slot slot) {
  fetches_.supersede(table_[slot].block());
  store_->dropped(slot);
  table_.retire(slot);
  note_vacated(slot);
}

std::vector<Slot> BlockCache::cached_in(const Range& range) const {
  std::vector<Slot> slots;
  const BlockNumber first = geometry_.block_at(range.offset);
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  if (end.value - first.value > table_.cached_blocks()) {
    // A trim of terabytes looks at what is cached, not at every block there might be.
    table_.policy().in_eviction_order([&](Slot slot) REQUIRES(mutex_) {
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

// A slot that was taken for a block of which nothing could be stored in the end is given up.
void BlockCache::give_back(Slot slot) {
  table_.unpin(slot);
  const BlockTable::Entry& entry = table_[slot];
  if (!entry.is_attached()) {
    note_vacated(slot);
  } else if (entry.pins == 0 && table_.pages(slot) == Pages()) {
    drop(slot, EvictionPolicy::Removal::dropped);
  }
  changed_.notify_all();
}

// Those of them that are clean are not cached any more. The caller owns them, and has pinned the
// slot; nothing of it is on its way below. What a fetch has read of them may be older than what they
// held. They are not valid before the mutex is released: no write-back may complete a request with
// what is in their place.
void BlockCache::forget_pages(Slot slot, PageMask touched) {
  if (!table_[slot].is_attached()) return;
  const Pages before = table_.pages(slot);
  const PageMask clean = before.valid & ~before.dirty & touched;
  if (clean == 0) return;
  fetches_.supersede(table_[slot].block());
  Pages pages = before;
  pages.valid &= ~clean;
  pages.zero &= pages.valid;
  pages.hole &= pages.valid;
  set_pages(slot, pages);
  StoredPages given_up;
  try {
    const MutexUnlock unlocked(mutex_);
    given_up = store_->forget(slot, clean, before.stored() & clean);
  } catch (const std::exception&) {  // the store has them still
    remember_pages(slot, before, clean);
    throw;
  }
  if (table_[slot].is_attached()) store_->forgotten(slot, given_up);
}

// They are again what they were `before`.
void BlockCache::remember_pages(Slot slot, const Pages& before, PageMask again) {
  if (!table_[slot].is_attached()) return;
  Pages pages = table_.pages(slot);
  pages.valid |= before.valid & again;
  pages.zero |= before.zero & again;
  pages.hole |= before.hole & again;
  set_pages(slot, pages);
}

// Notes when a block becomes dirty.
void BlockCache::set_pages(Slot slot, const Pages& pages) {
  const bool was_unwritten = table_.unwritten().contains(slot);
  table_.set_pages(slot, pages);
  if (!was_unwritten) table_[slot].dirty_since = schedule_.dirty_tick();
}

void BlockCache::verify(Slot slot) {
  if (table_[slot].verifying) {
    const BlockNumber block = table_[slot].block();
    while (table_.find(block) == slot && table_[slot].verifying) changed_.wait(mutex_);
    return;
  }
  const PageMask stored = table_.pages(slot).stored();
  table_[slot].verifying = true;
  table_.pin(slot);
  bool intact = stored == 0;
  bool looked = true;
  try {
    const MutexUnlock unlocked(mutex_);
    intact = intact || store_->verify(slot, stored);
  } catch (const Error& error) {
    intact = false;
  } catch (const std::bad_alloc&) {
    looked = false;  // who comes next looks again
  }
  table_[slot].verifying = false;
  table_[slot].unverified = !looked && table_[slot].is_attached();
  const bool is_damaged = looked && !intact && table_[slot].is_attached();
  const Pages before = table_.pages(slot);
  const Range range = geometry_.range_of(table_[slot].block());
  if (is_damaged) damaged(slot);
  give_back(slot);
  if (!looked) throw std::bad_alloc();
  if (is_damaged) report_damaged(before, range);
}

// Clean content can be fetched again. What was dirty is lost, and that must not look like success:
// its pages are errors to read until they are written again.
void BlockCache::damaged(Slot slot) {
  Pages pages = table_.pages(slot);
  pages.valid &= pages.zero;
  pages.zero &= pages.valid;
  pages.hole &= pages.valid;
  set_pages(slot, pages);
}

void BlockCache::report_damaged(const Pages& before, const Range& range) const {
  if ((before.stored() & before.dirty) == 0) {
    log::debug("cache: the cached copy of the block at offset {} is damaged: it is dropped",
               range.offset);
  }
  for_each_page_run(before.stored() & before.dirty, [&](unsigned first, unsigned count) {
    log::error(
        "cache: {} bytes at offset {} were written by a client, had not reached the plugin, and "
        "are DAMAGED in {}: reading them and flushing are errors until they are overwritten, "
        "zeroed or trimmed",
        std::min<std::uint64_t>(std::uint64_t{count} * pages_.page_size(),
                                range.length - pages_.offset_of(first)),
        range.offset + pages_.offset_of(first), store_->name());
  });
}

// A flush cannot make durable what is lost. The client gets rid of the error by getting rid of what
// is damaged.
void BlockCache::report_damage() {
  const MutexLock lock(mutex_);
  if (table_.damaged_blocks() == 0) return;
  Slot first = kNoSlot;
  table_.policy().in_eviction_order([&](Slot slot) REQUIRES(mutex_) {
    const bool damaged = table_.pages(slot).damaged() != 0;
    if (damaged && (first == kNoSlot || table_[slot].block() < table_[first].block())) first = slot;
    return true;
  });
  throw Error(EIO,
              fmt::format("cache: what clients wrote to {} blocks, the first of them at offset "
                          "{}, was damaged in {} before it reached the plugin: a flush "
                          "succeeds again when all of it is overwritten, zeroed or trimmed",
                          table_.damaged_blocks(), geometry_.offset_of(table_[first].block()),
                          store_->name()));
}

void BlockCache::run_in_parallel(const Layer& below, WorkerPool& pool, std::size_t count,
                                 const std::function<void(std::size_t)>& body) {
  if (below.traits().parallel) {
    pool.run(count, body);
  } else {
    WorkerPool(0).run(count, body);
  }
}

// The block-aligned range that contains `range`.
Range BlockCache::blocks_covering(const Range& range) const {
  const std::uint64_t first = geometry_.offset_of(geometry_.block_at(range.offset));
  const BlockNumber last = geometry_.block_at(range.end() - 1);
  return {first, geometry_.offset_of(last) + geometry_.length_of(last) - first};
}

Range BlockCache::pages_covering(const Range& range) const {
  const std::uint64_t mask = pages_.page_size() - 1;
  const std::uint64_t first = range.offset & ~mask;
  return {first, std::min(geometry_.size_bytes(), (range.end() + mask) & ~mask) - first};
}

void BlockCache::say(const char* what, BlockNumber block) const {
  if (settings_.verbose) {
    log::debug("cache: {} block {} (offset {})", what, block.value, geometry_.offset_of(block));
  }
}

}  // namespace nbdstack
