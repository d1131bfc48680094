#include "filters/cache/engine/fetch.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

BlockPiece part_of(const BlockPiece& piece, std::uint32_t offset_in_block, std::uint32_t length) {
  return {.block = piece.block,
          .offset_in_block = offset_in_block,
          .length = length,
          .offset_in_request = piece.offset_in_request + (offset_in_block - piece.offset_in_block)};
}

void say_failure(const Error& error) {
  try {
    if (!error.is_reported()) log::error("cache: {}", error.what());
  } catch (const std::bad_alloc&) {
    // Who needs the data gets the error's code all the same.
  }
}

}  // namespace

void BlockCache::read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
  expect_on_disk({offset, buffer.size()});
  if (!read_hit({offset, buffer.size()}, buffer)) read_planned(below, buffer, offset);
  relieve(below, false);
}

// The common case, without a plan: inside one block, and all of it stored.
bool BlockCache::read_hit(const Range& range, std::span<std::byte> buffer) {
  const BlockNumber block = geometry_.block_at(range.offset);
  const auto in_block = static_cast<std::uint32_t>(range.offset - geometry_.offset_of(block));
  if (range.length > geometry_.length_of(block) - in_block) return false;
  const PageMask touched = pages_.touched(in_block, static_cast<std::uint32_t>(range.length));
  MutexLock lock(mutex_);
  const Slot slot = residents_.find(block);
  if (slot == kNoSlot || residents_.is_unverified(slot)) return false;
  if ((touched & ~residents_.pages(slot).stored()) != 0) return false;
  residents_.pin(slot);
  residents_.touch(slot);
  lock.unlock();
  bool read = true;
  try {
    store_->read(slot, buffer, in_block);
  } catch (const Error&) {
    read = false;  // the long way knows what to do about it
  }
  lock.lock();
  give_back(slot);
  return read;
}

void BlockCache::read_planned(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
  std::vector<BlockPiece> pieces = geometry_.split({offset, buffer.size()});
  const bool store = settings_.cache_on_read();
  bool may_widen = store && settings_.fetch_bytes > settings_.block_size;
  while (!pieces.empty()) {
    ReadPlan plan;
    const PlanInUse in_use(*this, plan);
    MutexLock lock(mutex_);
    plan_read(plan, pieces, store);
    if (may_widen) {
      for (const auto& fetch : plan.started) {
        if (fetch->store.front()) widen(fetch);
      }
    }
    lock.unlock();
    copy_cached(plan, buffer);
    run_fetches(below, plan.started);
    lock.lock();
    for (auto& [fetch, piece, failed] : plan.fetched) {
      fetches_.wait_for(*fetch, mutex_);
      failed = fetch->error_code != 0;
      if (failed && !fetch->widened) throw Error::reported(fetch->error_code);
    }
    lock.unlock();
    for (const auto& [fetch, piece, failed] : plan.fetched) {
      if (failed) {
        may_widen = false;
        plan.later.push_back(piece);
        continue;
      }
      const auto bytes = fetch->bytes(offset + piece.offset_in_request, piece.length);
      std::memcpy(buffer.data() + piece.offset_in_request, bytes.data(), bytes.size());
    }
    pieces = std::move(plan.later);
  }
}

void BlockCache::plan_read(ReadPlan& plan, const std::vector<BlockPiece>& pieces, bool store) {
  for (const BlockPiece& piece : pieces) plan_piece(plan, piece, store);
}

void BlockCache::plan_piece(ReadPlan& plan, const BlockPiece& piece, bool store) {
  const Slot slot = find_verified(piece.block);
  if (slot == kNoSlot) {
    if (residents_.is_zeros(piece.block)) {
      plan.zeros.push_back(piece);
    } else {
      plan.fetched.push_back({join_or_start_fetch(piece.block, store, plan.started), piece});
    }
    return;
  }
  residents_.touch(slot);
  const Pages pages = residents_.pages(slot);
  const PageMask touched = pages_.touched(piece.offset_in_block, piece.length);
  if ((pages.damaged() & touched) != 0) plan.damaged = true;
  const std::size_t fetched_before = plan.fetched.size();
  pages_.for_each_part(piece.offset_in_block, piece.length, pages.valid | pages.damaged(),
                       [&](std::uint32_t offset, std::uint32_t length, bool cached) {
                         mutex_.is_held();
                         const BlockPiece part = part_of(piece, offset, length);
                         if (cached) {
                           plan.cached.push_back({slot, part, pages.zero});
                           residents_.pin(slot);
                         } else {
                           plan.fetched.push_back({nullptr, part});
                         }
                       });
  if (plan.fetched.size() == fetched_before) return;
  const auto fetch = join_or_start_fetch(piece.block, store, plan.started);
  for (std::size_t i = fetched_before; i < plan.fetched.size(); ++i) plan.fetched[i].fetch = fetch;
}

// While a bypass is under way on a block, what is read from below may be old or new.
std::shared_ptr<Fetch> BlockCache::join_or_start_fetch(BlockNumber block, bool store,
                                                       Fetches::Started& started) {
  const bool overtaken = changes_below_.is_bypassed(geometry_.range_of(block));
  return fetches_.join_or_start(block, store, !overtaken, started);
}

// Missing neighbours that nobody has asked for.
void BlockCache::widen(const std::shared_ptr<Fetch>& fetch) {
  fetches_.widen(fetch, settings_.fetch_bytes, [this](BlockNumber block) REQUIRES(mutex_) {
    const Range range = geometry_.range_of(block);
    return residents_.find(block) == kNoSlot && !residents_.is_zeros(block) &&
           !changes_below_.is_bypassed(range);
  });
}

// A clean block whose slot cannot be read is as good as absent, and is fetched again. A dirty one
// is an error: nobody else has its data.
void BlockCache::copy_cached(ReadPlan& plan, std::span<std::byte> buffer) {
  for (const BlockPiece& piece : plan.zeros) {
    std::memset(buffer.data() + piece.offset_in_request, 0, piece.length);
  }
  int lost_code = plan.damaged ? EIO : 0;
  plan.later.reserve(plan.cached.size());
  std::reverse(plan.cached.begin(), plan.cached.end());  // taken from the back, in their order
  while (!plan.cached.empty()) {
    const ReadPlan::Cached cached = plan.cached.back();
    const Slot slot = cached.slot;
    const BlockPiece& piece = cached.piece;
    bool failed = false;
    try {
      const auto target = buffer.subspan(piece.offset_in_request, piece.length);
      pages_.for_each_part(piece.offset_in_block, piece.length, cached.zero,
                           [&](std::uint32_t offset, std::uint32_t length, bool is_zero) {
                             const auto part =
                                 target.subspan(offset - piece.offset_in_block, length);
                             if (is_zero) {
                               std::memset(part.data(), 0, part.size());
                             } else if (!plan.damaged) {
                               store_->read(slot, part, offset);
                             }
                           });
    } catch (const Error& error) {
      failed = true;
      log::error("cache: {}", error.what());
    }
    plan.cached.pop_back();
    MutexLock lock(mutex_);
    const bool is_attached = residents_.is_attached(slot);
    const bool is_dirty = is_attached && residents_.is_unwritten(slot);
    if (failed && is_dirty) lost_code = EIO;
    if (failed && !is_dirty) {
      if (is_attached) residents_.retire(slot);
      plan.later.push_back(piece);
    }
    give_back(slot);
  }
  if (lost_code == 0) return;
  MutexLock lock(mutex_);
  abandon(plan, lost_code);
  lock.unlock();
  if (plan.damaged) {
    throw Error(lost_code,
                "cache: what was written here was damaged in the cache directory before "
                "it reached the plugin");
  }
  throw Error::reported(lost_code);
}

// Fetches that a plan has started and that are not going to run. Somebody may be waiting for them:
// they end with the same error.
void BlockCache::abandon(const ReadPlan& plan, int error_code) {
  for (const auto& fetch : plan.started) {
    if (!fetch->over) fetches_.end(*fetch, error_code);
  }
}

void BlockCache::give_back_all(ReadPlan& plan) {
  for (const auto& cached : plan.cached) give_back(cached.slot);
  plan.cached.clear();
}

void BlockCache::run_fetches(Layer& below, const Fetches::Started& fetches) {
  run_in_parallel(below, reads_, fetches.size(),
                  [&](std::size_t index) { run_fetch(below, *fetches[index]); });
}

// Whatever happens, the fetch ends: somebody may be waiting for it. Its error is thrown by those
// who need its data.
void BlockCache::run_fetch(Layer& below, Fetch& fetch) {
  int code = 0;
  try {
    fetch.buffer = std::make_unique_for_overwrite<std::byte[]>(fetch.length);
    expect_on_disk({fetch.offset, fetch.length});
    below.pread({fetch.buffer.get(), fetch.length}, fetch.offset);
  } catch (const Error& error) {
    code = error.code();
    say_failure(error);
  } catch (const std::bad_alloc&) {
    code = ENOMEM;
  }
  try {
    if (code == 0) store_fetched(fetch);
  } catch (const std::bad_alloc&) {
    // What was read is not kept, and that is all.
  }
  const MutexLock lock(mutex_);
  fetches_.end(fetch, code);
}

// Waiters are let go as soon as the data is in memory. Until it is stored it may be joined, so
// nobody fetches it a second time.
void BlockCache::store_fetched(Fetch& fetch) {
  {
    const MutexLock lock(mutex_);
    Fetches::done(fetch);
  }
  for (BlockNumber block = fetch.first; block < fetch.end(); ++block) {
    store_fetched_block(fetch, block);
  }
}

// Stores the pages that are not valid. Who changes some of them at this moment makes it not worth
// waiting for: then the block is not stored.
void BlockCache::store_fetched_block(Fetch& fetch, BlockNumber block) {
  const Range range = geometry_.range_of(block);
  const auto owned = changes_.try_acquire(range);
  MutexLock lock(mutex_);
  if (store_->is_durable() && ledger_.is_in_doubt()) return;
  if (!owned || !fetches_.may_store(fetch, block)) return;
  Slot slot = residents_.find(block);
  if (residents_.is_unverified(slot)) return;
  if (slot == kNoSlot) {
    const auto taken = residents_.take_slot(block);
    if (!taken) return;
    slot = *taken;
  }
  residents_.pin(slot);
  const Pages before = residents_.pages(slot);
  lock.unlock();
  Pin pin(*this, slot);
  const PageMask missing =
      pages_.all(static_cast<std::uint32_t>(range.length)) & ~before.valid & ~before.damaged();
  say("storing", block);
  std::vector<StoredPages> stored;
  try {
    for_each_page_run(missing, [&](unsigned first, unsigned count) {
      const std::uint32_t offset = pages_.offset_of(first);
      const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(
          std::uint64_t{count} * pages_.page_size(), range.length - offset));
      stored.push_back(store_->write(slot, fetch.bytes(range.offset + offset, length), offset, 0));
    });
  } catch (const Error& error) {
    storage_failed(error);
  }
  lock.lock();
  if (residents_.is_attached(slot)) {
    for (const StoredPages& part : stored) residents_.wrote(slot, part, false);
    if (!stored.empty()) storage_worked(slot);
  }
  pin.give_back(*this);
}

void BlockCache::read_part(Layer& below, const Range& range, std::span<std::byte> buffer) {
  MutexLock lock(mutex_);
  if (const auto fetch = fetches_.find(geometry_.block_at(range.offset))) {
    fetches_.wait_for(*fetch, mutex_);
    if (fetch->error_code == 0) {
      const auto bytes = fetch->bytes(range.offset, range.length);
      std::memcpy(buffer.data(), bytes.data(), bytes.size());
      return;
    }
    if (!fetch->widened) throw Error::reported(fetch->error_code);
  }
  lock.unlock();
  const std::uint64_t alignment = std::max<std::uint64_t>(1, below.traits().minimum_block_size);
  const std::uint64_t first = range.offset / alignment * alignment;
  const std::uint64_t end =
      std::min(geometry_.size_bytes(), (range.end() + alignment - 1) / alignment * alignment);
  if (first == range.offset && end == range.end()) {
    below.pread(buffer, range.offset);
    return;
  }
  std::vector<std::byte> aligned(end - first);
  below.pread(aligned, first);
  std::memcpy(buffer.data(), aligned.data() + (range.offset - first), buffer.size());
}

}  // namespace nbdstack
