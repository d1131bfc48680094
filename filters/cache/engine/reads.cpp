#include "filters/cache/engine/reads.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/engine/below.hpp"

namespace nbdstack {
namespace {

BlockPiece part_of(const BlockPiece& piece, std::uint32_t offset_in_block, std::uint32_t length) {
  return {.block = piece.block,
          .offset_in_block = offset_in_block,
          .length = length,
          .offset_in_request = piece.offset_in_request + (offset_in_block - piece.offset_in_block)};
}

}  // namespace

// The plan of a read, piece by piece. Its destructor ends the remaining pins, and the fetches that
// it has started but not run: its owner does not hold the mutex then.
struct Reads::Plan {
  struct Cached {
    Slot slot;  // pinned
    BlockPiece piece;
    PageMask zero;  // pages of it that have no storage
  };
  struct Fetched {
    std::shared_ptr<Fetch> fetch;
    BlockPiece piece;
    bool failed = false;  // read with the mutex held, when the fetch was done
  };

  explicit Plan(GuardedState& guarded) : state(guarded) {}
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  ~Plan() {
    if (cached.empty() && started.empty()) return;
    const MutexLock lock(state.mutex);
    give_back(state);
    abandon(state, ENOMEM);
  }
  void give_back(GuardedState& guarded) REQUIRES(guarded.mutex) {
    for (const Cached& one : cached) guarded.give_back(one.slot);
    cached.clear();
  }
  // Other callers may wait for fetches that will not run: they end with the same error.
  void abandon(GuardedState& guarded, int error_code) const REQUIRES(guarded.mutex) {
    for (const auto& fetch : started) {
      if (!fetch->over) guarded.fetches.end(*fetch, error_code);
    }
  }

  GuardedState& state;
  std::vector<Cached> cached;
  std::vector<Fetched> fetched;
  std::vector<BlockPiece> zeros;  // remembered as ranges
  Fetches::Started started;       // those in `fetched` that this read has to run
  std::vector<BlockPiece> later;  // to be planned again
  bool damaged = false;           // part of it is lost
};

void Reads::read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
  state_.expect_on_disk({offset, buffer.size()});
  if (!read_hit({offset, buffer.size()}, buffer)) read_planned(below, buffer, offset);
}

// The common case, without a plan: the range is in one block, and all of it is stored.
bool Reads::read_hit(const Range& range, std::span<std::byte> buffer) {
  const BlockNumber block = state_.geometry.block_at(range.offset);
  const auto in_block = static_cast<std::uint32_t>(range.offset - state_.geometry.offset_of(block));
  if (range.length > state_.geometry.length_of(block) - in_block) return false;
  const PageMask touched = state_.pages.touched(in_block, static_cast<std::uint32_t>(range.length));
  MutexLock lock(state_.mutex);
  const Slot slot = state_.residents.find(block);
  if (slot == kNoSlot || state_.residents.is_unverified(slot)) return false;
  if ((touched & ~state_.residents.pages(slot).stored()) != 0) return false;
  state_.residents.pin(slot);
  state_.residents.touch(slot);
  lock.unlock();
  bool read = true;
  try {
    state_.store->read(slot, buffer, in_block);
  } catch (const Error&) {
    read = false;  // the planned read handles this
  }
  lock.lock();
  state_.give_back(slot);
  if (read) ++state_.read_counts.hits;
  return read;
}

void Reads::read_planned(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
  std::vector<BlockPiece> pieces = state_.geometry.split({offset, buffer.size()});
  const bool store = state_.settings.cache_on_read();
  bool may_widen = store && state_.settings.fetch_bytes > state_.settings.block_size;
  for (bool is_first = true; !pieces.empty(); is_first = false) {
    Plan plan(state_);
    MutexLock lock(state_.mutex);
    make_plan(plan, pieces, store);
    if (is_first) ++(plan.fetched.empty() ? state_.read_counts.hits : state_.read_counts.misses);
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
      state_.fetches.wait_for(*fetch, state_.mutex);
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

void Reads::make_plan(Plan& plan, const std::vector<BlockPiece>& pieces, bool store) {
  for (const BlockPiece& piece : pieces) plan_piece(plan, piece, store);
}

void Reads::plan_piece(Plan& plan, const BlockPiece& piece, bool store) {
  const Slot slot = state_.find_verified(piece.block);
  if (slot == kNoSlot) {
    if (state_.residents.is_zeros(piece.block)) {
      plan.zeros.push_back(piece);
    } else {
      plan.fetched.push_back({join_or_start_fetch(piece.block, store, plan.started), piece});
    }
    return;
  }
  state_.residents.touch(slot);
  const Pages pages = state_.residents.pages(slot);
  const PageMask touched = state_.pages.touched(piece.offset_in_block, piece.length);
  if ((pages.damaged() & touched) != 0) plan.damaged = true;
  const std::size_t fetched_before = plan.fetched.size();
  state_.pages.for_each_part(piece.offset_in_block, piece.length, pages.valid | pages.damaged(),
                             [&](std::uint32_t offset, std::uint32_t length, bool cached) {
                               state_.mutex.is_held();
                               const BlockPiece part = part_of(piece, offset, length);
                               if (cached) {
                                 plan.cached.push_back({slot, part, pages.zero});
                                 state_.residents.pin(slot);
                               } else {
                                 plan.fetched.push_back({nullptr, part});
                               }
                             });
  if (plan.fetched.size() == fetched_before) return;
  const auto fetch = join_or_start_fetch(piece.block, store, plan.started);
  for (std::size_t i = fetched_before; i < plan.fetched.size(); ++i) plan.fetched[i].fetch = fetch;
}

// During a bypass of a block, content that is read from below may be old or new.
std::shared_ptr<Fetch> Reads::join_or_start_fetch(BlockNumber block, bool store,
                                                  Fetches::Started& started) {
  const bool overtaken = state_.changes_below.is_bypassed(state_.geometry.range_of(block));
  return state_.fetches.join_or_start(block, store, !overtaken, started);
}

// Missing neighbours that no caller requested.
void Reads::widen(const std::shared_ptr<Fetch>& fetch) {
  state_.fetches.widen(
      fetch, state_.settings.fetch_bytes, [this](BlockNumber block) REQUIRES(state_.mutex) {
        const Range range = state_.geometry.range_of(block);
        return state_.residents.find(block) == kNoSlot && !state_.residents.is_zeros(block) &&
               !state_.changes_below.is_bypassed(range);
      });
}

// A clean block whose slot cannot be read counts as absent, and is fetched again. A dirty one is an
// error: there is no other copy of its data.
void Reads::copy_cached(Plan& plan, std::span<std::byte> buffer) {
  for (const BlockPiece& piece : plan.zeros) {
    std::memset(buffer.data() + piece.offset_in_request, 0, piece.length);
  }
  int lost_code = plan.damaged ? EIO : 0;
  plan.later.reserve(plan.cached.size());
  std::reverse(plan.cached.begin(), plan.cached.end());  // taken from the back, in their order
  while (!plan.cached.empty()) {
    const Plan::Cached cached = plan.cached.back();
    const Slot slot = cached.slot;
    const BlockPiece& piece = cached.piece;
    bool failed = false;
    try {
      const auto target = buffer.subspan(piece.offset_in_request, piece.length);
      state_.pages.for_each_part(piece.offset_in_block, piece.length, cached.zero,
                                 [&](std::uint32_t offset, std::uint32_t length, bool is_zero) {
                                   const auto part =
                                       target.subspan(offset - piece.offset_in_block, length);
                                   if (is_zero) {
                                     std::memset(part.data(), 0, part.size());
                                   } else if (!plan.damaged) {
                                     state_.store->read(slot, part, offset);
                                   }
                                 });
    } catch (const Error& error) {
      failed = true;
      log::error("cache: {}", error.what());
    }
    plan.cached.pop_back();
    MutexLock lock(state_.mutex);
    const bool is_attached = state_.residents.is_attached(slot);
    const bool is_dirty = is_attached && state_.residents.is_unwritten(slot);
    if (failed && is_dirty) lost_code = EIO;
    if (failed && !is_dirty) {
      if (is_attached) state_.residents.retire(slot);
      plan.later.push_back(piece);
    }
    state_.give_back(slot);
  }
  if (lost_code == 0) return;
  MutexLock lock(state_.mutex);
  plan.abandon(state_, lost_code);
  lock.unlock();
  if (plan.damaged) {
    throw Error(lost_code,
                "cache: what was written here was damaged in the cache directory before "
                "it reached the plugin");
  }
  throw Error::reported(lost_code);
}

void Reads::run_fetches(Layer& below, const Fetches::Started& fetches) {
  run_in_parallel(below, threads_, fetches.size(),
                  [&](std::size_t index) { run_fetch(below, *fetches[index]); });
}

// The fetch ends in any case, because other callers may wait for it. Callers that need its data
// throw its error.
void Reads::run_fetch(Layer& below, Fetch& fetch) {
  int code = 0;
  try {
    fetch.buffer = std::make_unique_for_overwrite<std::byte[]>(fetch.length);
    state_.expect_on_disk({fetch.offset, fetch.length});
    below.pread({fetch.buffer.get(), fetch.length}, fetch.offset);
  } catch (const Error& error) {
    code = error.code();
    if (!error.is_reported()) log::error("cache: {}", error.what());
  } catch (const std::bad_alloc&) {
    code = ENOMEM;
  }
  try {
    if (code == 0) {
      // Waiters continue as soon as the data is in memory. Until it is stored the fetch may be
      // joined, so the block is not fetched a second time.
      {
        const MutexLock lock(state_.mutex);
        Fetches::done(fetch);
      }
      for (BlockNumber block = fetch.first; block < fetch.end(); ++block) {
        store_fetched(fetch, block);
      }
    }
  } catch (const std::bad_alloc&) {
    // The only effect is that the data is not cached.
  }
  const MutexLock lock(state_.mutex);
  state_.fetches.end(fetch, code);
}

// Stores the pages that are not valid. If another caller is changing some of them, the block is not
// stored, since waiting is not worthwhile.
void Reads::store_fetched(Fetch& fetch, BlockNumber block) {
  const Range range = state_.geometry.range_of(block);
  const auto owned = state_.changes.try_acquire(range);
  const MutexLock lock(state_.mutex);
  if (state_.store->is_durable() && state_.ledger.is_in_doubt()) return;
  if (!owned || !state_.fetches.may_store(fetch, block)) return;
  state_.fill(block, fetch.bytes(range.offset, range.length));
}

void Reads::prefetch(Layer& below, const Range& range) {
  state_.expect_on_disk(range);
  MutexLock capacity_lock(state_.mutex);
  const std::uint64_t capacity_bytes = state_.residents.capacity_bytes();
  capacity_lock.unlock();
  // It works in steps, so that its memory does not grow with the range, and only as far as the
  // cache can store.
  const Range wanted =
      state_.blocks_covering({range.offset, std::min(range.length, capacity_bytes)});
  try {
    for (std::uint64_t done = 0; done < wanted.length; done += kLongestFetch_bytes) {
      const auto pieces = state_.geometry.split(
          {wanted.offset + done, std::min(kLongestFetch_bytes, wanted.length - done)});
      Plan plan(state_);
      MutexLock lock(state_.mutex);
      make_plan(plan, pieces, true);
      plan.give_back(state_);
      lock.unlock();
      run_fetches(below, plan.started);
      lock.lock();
      const bool failed = std::any_of(plan.started.begin(), plan.started.end(),
                                      [](const auto& fetch) { return fetch->error_code != 0; });
      if (failed) break;  // already reported; the rest of the range would fail, too
    }
  } catch (const Error& error) {
    log::debug("cache: prefetch of {} bytes at {} failed: {}", range.length, range.offset,
               error.reason());
  }
}

void Reads::read_part(Layer& below, const Range& range, std::span<std::byte> buffer) {
  MutexLock lock(state_.mutex);
  if (const auto fetch = state_.fetches.find(state_.geometry.block_at(range.offset))) {
    state_.fetches.wait_for(*fetch, state_.mutex);
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
      std::min(state_.geometry.size_bytes(), (range.end() + alignment - 1) / alignment * alignment);
  if (first == range.offset && end == range.end()) {
    below.pread(buffer, range.offset);
    return;
  }
  std::vector<std::byte> aligned(end - first);
  below.pread(aligned, first);
  std::memcpy(buffer.data(), aligned.data() + (range.offset - first), buffer.size());
}

}  // namespace nbdstack
