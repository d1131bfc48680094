#include "filters/cache/fetch.hpp"

#include <algorithm>
#include <cstring>

#include "common/error.hpp"
#include "common/log.hpp"

namespace nbdstack {
namespace {

// The longest request sent below, and the memory that one takes while it is under way.
constexpr std::uint64_t kLongestFetch_bytes = 32ULL << 20U;

}  // namespace

void BlockCache::read(Layer& below, std::span<std::byte> buffer, std::uint64_t offset) {
  std::vector<BlockPiece> pieces = geometry_.split({offset, buffer.size()});
  const bool store = settings_.cache_on_read();
  while (!pieces.empty()) {
    Lock lock(mutex_);
    ReadPlan plan = plan_read(lock, pieces, store);
    lock.unlock();
    copy_cached(plan, buffer);
    run_fetches(below, plan.started);
    lock.lock();
    for (const auto& [fetch, piece] : plan.fetched) {
      wait_for(lock, *fetch);
      if (fetch->error_code != 0) throw Error::reported(fetch->error_code);
    }
    if (plan.cached.empty() && plan.fetched.empty()) wait_until_stored(lock, plan.later.front());
    lock.unlock();
    for (const auto& [fetch, piece] : plan.fetched) {
      const auto bytes = fetch->bytes(offset + piece.offset_in_request, piece.length);
      std::memcpy(buffer.data() + piece.offset_in_request, bytes.data(), bytes.size());
    }
    pieces = std::move(plan.later);
  }
  relieve(below, false);
}

void BlockCache::prefetch(Layer& below, const Range& range) {
  // In steps, so that the memory taken does not grow with the range, and no further than the cache
  // can hold.
  const Range wanted = blocks_covering({range.offset, std::min(range.length, capacity_bytes())});
  try {
    for (std::uint64_t done = 0; done < wanted.length; done += kLongestFetch_bytes) {
      const auto pieces = geometry_.split(
          {wanted.offset + done, std::min(kLongestFetch_bytes, wanted.length - done)});
      Lock lock(mutex_);
      const ReadPlan plan = plan_read(lock, pieces, true);
      for (const auto& [slot, piece] : plan.cached) give_back(lock, slot);
      lock.unlock();
      run_fetches(below, plan.started);
      lock.lock();
      const bool failed = std::any_of(plan.started.begin(), plan.started.end(),
                                      [](const auto& fetch) { return fetch->error_code != 0; });
      if (failed) break;  // reported already; the rest of the range would fail alike
    }
    relieve(below, false);
  } catch (const Error& error) {
    log::debug("cache: prefetch of {} bytes at {} failed: {}", range.length, range.offset,
               error.is_reported() ? "the layer below has reported it" : error.what());
  }
}

BlockCache::ReadPlan BlockCache::plan_read(Lock& lock, const std::vector<BlockPiece>& pieces,
                                           bool store) {
  ReadPlan plan;
  for (const BlockPiece& piece : pieces) {
    const Slot slot = table_.find(piece.block);
    if (slot == kNoSlot) {
      plan.fetched.push_back({join_or_start_fetch(lock, piece.block, store, plan.started), piece});
    } else if (table_[slot].state == BlockState::storing) {
      plan.later.push_back(piece);
    } else {
      table_.pin(slot);
      table_.touch(slot);
      plan.cached.push_back({slot, piece});
    }
  }
  return plan;
}

// Blocks asked for one after the other in ascending order become one fetch. While a bypass is under
// way on a block, what is read from below may be old or new: such a fetch serves nobody else and is
// not stored.
std::shared_ptr<BlockCache::Fetch> BlockCache::join_or_start_fetch(
    Lock& /*lock*/, BlockNumber block, bool store, std::vector<std::shared_ptr<Fetch>>& started) {
  if (const auto found = fetches_.find(block); found != fetches_.end()) {
    Fetch& fetch = *found->second;
    if (store) fetch.store[block.value - fetch.first.value] = true;
    return found->second;
  }
  const std::uint32_t length = geometry_.length_of(block);
  const bool extends = !started.empty() && started.back()->end() == block &&
                       started.back()->length + length <= kLongestFetch_bytes;
  if (!extends) {
    started.push_back(std::make_shared<Fetch>());
    started.back()->first = block;
    started.back()->offset = geometry_.offset_of(block);
  }
  const std::shared_ptr<Fetch>& fetch = started.back();
  const bool overtaken = std::any_of(bypasses_.begin(), bypasses_.end(), [&](const Range& bypass) {
    return bypass.overlaps(geometry_.range_of(block));
  });
  fetch->store.push_back(store && !overtaken);
  fetch->length += length;
  if (!overtaken) fetches_.emplace(block, fetch);
  return fetch;
}

// A clean block whose slot cannot be read is as good as absent, and is fetched again. A dirty one
// is an error: nobody else has its data.
void BlockCache::copy_cached(ReadPlan& plan, std::span<std::byte> buffer) {
  std::optional<Error> lost;
  for (const auto& [slot, piece] : plan.cached) {
    std::optional<Error> failure;
    try {
      file_.read(slot, buffer.subspan(piece.offset_in_request, piece.length),
                 piece.offset_in_block);
    } catch (const Error& error) {
      failure = error;
      log::error("cache: {}", error.what());
    }
    Lock lock(mutex_);
    const BlockTable::Entry& entry = table_[slot];
    const bool is_dirty = entry.attached && entry.state != BlockState::clean;
    if (failure && is_dirty) lost = failure;
    if (failure && !is_dirty) {
      if (entry.attached) table_.retire(slot);
      plan.later.push_back(piece);
    }
    give_back(lock, slot);
  }
  if (!lost) return;
  // Somebody may be waiting for these: they end with the same error.
  Lock lock(mutex_);
  for (const auto& fetch : plan.started) {
    fetch->error_code = lost->code();
    finish_fetch(lock, *fetch);
  }
  throw Error::reported(lost->code());
}

void BlockCache::run_fetches(Layer& below, const std::vector<std::shared_ptr<Fetch>>& fetches) {
  run_in_parallel(below, fetches.size(),
                  [&](std::size_t index) { run_fetch(below, *fetches[index]); });
}

// Whatever happens, the fetch ends: somebody may be waiting for it. Its error is thrown by those
// who need its data.
void BlockCache::run_fetch(Layer& below, Fetch& fetch) {
  int code = 0;
  try {
    fetch.buffer = std::make_unique_for_overwrite<std::byte[]>(fetch.length);
    below.pread({fetch.buffer.get(), fetch.length}, fetch.offset);
  } catch (const Error& error) {
    code = error.code();
    if (!error.is_reported()) log::error("cache: {}", error.what());
  } catch (const std::bad_alloc&) {
    code = ENOMEM;
    log::error("cache: out of memory reading {} bytes", fetch.length);
  }
  if (code == 0) {
    store_fetched(fetch);
    return;
  }
  Lock lock(mutex_);
  fetch.error_code = code;
  finish_fetch(lock, fetch);
}

// Waiters are let go as soon as the data is in memory. The blocks change from "being fetched" to
// "being stored" in one step, so nobody fetches them a second time.
void BlockCache::store_fetched(Fetch& fetch) {
  std::vector<Slot> slots;
  Lock lock(mutex_);
  for (BlockNumber block = fetch.first; block < fetch.end(); ++block) {
    const auto current = fetches_.find(block);
    const bool ours = current != fetches_.end() && current->second.get() == &fetch;
    if (!ours || !fetch.store[block.value - fetch.first.value]) continue;
    if (const auto slot = take_slot(lock, block)) {
      table_.pin(*slot);
      slots.push_back(*slot);
      say("storing", block);
    }
  }
  finish_fetch(lock, fetch);
  for (const Slot slot : slots) {
    const BlockNumber block = table_[slot].block;
    fill_slot(lock, slot, fetch.bytes(geometry_.offset_of(block), geometry_.length_of(block)));
  }
}

void BlockCache::finish_fetch(Lock& /*lock*/, Fetch& fetch) {
  for (BlockNumber block = fetch.first; block < fetch.end(); ++block) {
    const auto current = fetches_.find(block);
    if (current != fetches_.end() && current->second.get() == &fetch) fetches_.erase(current);
  }
  fetch.done = true;
  fetch.finished.notify_all();
}

void BlockCache::wait_for(Lock& lock, Fetch& fetch) {
  fetch.finished.wait(lock, [&] { return fetch.done; });
}

// Being stored is a write to the local file, so this is short.
void BlockCache::wait_until_stored(Lock& lock, const BlockPiece& piece) {
  changed_.wait(lock, [&] {
    const Slot slot = table_.find(piece.block);
    return slot == kNoSlot || table_[slot].state != BlockState::storing;
  });
}

// Nobody joins the fetches of these blocks any more, and they are not stored.
void BlockCache::supersede_fetches(Lock& /*lock*/, const Range& range) {
  if (fetches_.empty()) return;
  const BlockNumber end = geometry_.block_at(range.end() - 1).next();
  for (BlockNumber block = geometry_.block_at(range.offset); block < end; ++block) {
    fetches_.erase(block);
  }
}

}  // namespace nbdstack
