// The disk of the cache is full, or broken.
//
// What is cached stays. While the disk is full slots are only reused, and what does not fit passes
// through to the layer below; now and then one more slot is tried, and when it can be stored the
// cache grows on as before. One line in the log tells of the beginning, one of the end.
#include <new>

#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"
#include "filters/cache/write_back.hpp"

namespace nbdstack {
namespace {

// What gives its storage back at once, and how often one commit asks for that.
constexpr std::size_t kGivenBack_blocks = 64;
constexpr int kMostTimesGivenBack = 4;

}  // namespace

void BlockCache::publish() {
  try {
    store_->publish();
  } catch (const Error& error) {
    if (!is_for_lack_of_room(error)) throw;
    storage_failed(error);
  }
}

void BlockCache::commit() {
  for (int times = 0;; ++times) {
    try {
      store_->commit();
      return;
    } catch (const Error& error) {
      if (!is_for_lack_of_room(error)) throw;
      storage_failed(error);
      if (times == kMostTimesGivenBack || !give_back_room()) throw;
    }
  }
}

// Not write_back(): that may want to keep changes of the block away, and the caller is one.
void BlockCache::write_back_in_the_way(Layer& below, BlockNumber block) {
  const Settling settling(*this, below);
  WriteBack work{.below = below};
  write_back_dirty(work, {block});
  settle(below);
  if (work.failure) throw Error(*work.failure);
  wait_until_not_busy(below, work.busy, {});
}

bool BlockCache::give_back_room() {
  MutexLock lock(mutex_);
  std::size_t given_back = 0;
  for (; given_back < kGivenBack_blocks; ++given_back) {
    const Slot victim = next_victim();
    if (victim == kNoSlot) break;
    drop(victim, EvictionPolicy::Removal::evicted, true);
  }
  discard_dropped();
  changed_.notify_all();
  return given_back > 0;
}

void BlockCache::storage_failed(const Error& error) {
  if (!is_for_lack_of_room(error)) {
    log::error("cache: {}: the request passes through to the plugin", error.what());
    return;
  }
  MutexLock lock(mutex_);
  const bool news = !full_until_;
  table_.stop_growing();
  full_until_ = std::chrono::steady_clock::now() + settings_.full_retry;
  tried_slot_ = kNoSlot;
  const std::uint64_t size_mib = (table_.cached_blocks() * settings_.block_size) >> 20U;
  lock.unlock();
  if (news) {
    log::error(
        "cache: {}: going on with the {} MiB that are cached; what does not fit passes "
        "through to the plugin until there is room again",
        error.what(), size_mib);
  }
}

void BlockCache::storage_worked(Slot slot) {
  if (slot != tried_slot_) return;
  tried_slot_ = kNoSlot;
  full_until_.reset();
  table_.grow_again();
  try {
    log::error("cache: there is room for the cache again: it is used as before");
  } catch (const std::bad_alloc&) {
    // The slot is used all the same.
  }
}

bool BlockCache::has_free_slot() {
  if (full_until_ && std::chrono::steady_clock::now() >= *full_until_) {
    // The next insert() takes it. If it cannot be stored either, storage_failed() comes again.
    full_until_ = std::chrono::steady_clock::now() + settings_.full_retry;
    tried_slot_ = table_.grow_by_one();
  }
  return table_.has_room() && occupied() < table_.max_slots();
}

// Blocks that are damaged, and nothing but damaged, will not go by themselves.
bool BlockCache::room_may_come() const {
  return evicting_ || table_.pinned_slots() > 0 || table_.unwritten().size() > 0;
}

}  // namespace nbdstack
