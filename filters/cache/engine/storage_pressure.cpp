// Handles a full, or broken, disk of the cache.
//
// Cached content stays. While the disk is full slots are only reused, and requests that do not fit
// pass through to the layer below. From time to time one more slot is tried; when it can be stored,
// the cache grows again as before. The log has one line for the beginning, and one for the end.
#include "common/io/lack_of_room.hpp"
#include "common/log.hpp"
#include "filters/cache/engine/guarded_state.hpp"

namespace nbdstack {
namespace {

// The blocks that give their storage back at once, and the times that one commit requests that.
constexpr std::size_t kGivenBack_blocks = 64;
constexpr int kMostTimesGivenBack = 4;

}  // namespace

void GuardedState::publish() {
  try {
    store->publish();
  } catch (const Error& error) {
    if (!is_for_lack_of_room(error)) throw;
    storage_failed(error);
  }
}

void GuardedState::commit() {
  for (int times = 0;; ++times) {
    try {
      store->commit();
      return;
    } catch (const Error& error) {
      if (!is_for_lack_of_room(error)) throw;
      storage_failed(error);
      if (times == kMostTimesGivenBack || !give_back_room()) throw;
    }
  }
}

bool GuardedState::give_back_room() {
  const MutexLock lock(mutex);
  const std::size_t given_back = residents.evict(kGivenBack_blocks, true);
  discard_dropped();
  changed.notify_all();
  return given_back > 0;
}

void GuardedState::storage_failed(const Error& error) {
  if (!is_for_lack_of_room(error)) {
    log::error("cache: {}: the request passes through to the plugin", error.what());
    return;
  }
  MutexLock lock(mutex);
  const bool news = pressure.disk_is_full(std::chrono::steady_clock::now());
  residents.stop_growing();
  const std::uint64_t size_mib = residents.cached_bytes() >> 20U;
  lock.unlock();
  if (news) {
    log::error(
        "cache: {}: going on with the {} MiB that are cached; what does not fit passes "
        "through to the plugin until there is room again",
        error.what(), size_mib);
  }
}

void GuardedState::storage_worked(Slot slot) {
  if (pressure.is_roomy()) return;
  switch (pressure.stored(slot, std::chrono::steady_clock::now())) {
    case Pressure::Stored::nothing_new:
      return;
    case Pressure::Stored::grows_again:
      residents.grow_again();
      return;
    case Pressure::Stored::has_room_again:
      log::error("cache: there is room for the cache again: it is used as before");
      return;
  }
}

}  // namespace nbdstack
