// Loading what nobody waits for: ranges that a client has announced.
#include <algorithm>

#include "common/error.hpp"
#include "common/log.hpp"
#include "filters/cache/engine/fetch.hpp"

namespace nbdstack {

void BlockCache::prefetch(Layer& below, const Range& range) {
  expect_on_disk(range);
  MutexLock capacity_lock(mutex_);
  const std::uint64_t capacity_bytes = residents_.capacity_bytes();
  capacity_lock.unlock();
  // In steps, so that the memory taken does not grow with the range, and no further than the cache
  // can hold.
  const Range wanted = blocks_covering({range.offset, std::min(range.length, capacity_bytes)});
  try {
    for (std::uint64_t done = 0; done < wanted.length; done += kLongestFetch_bytes) {
      const auto pieces = geometry_.split(
          {wanted.offset + done, std::min(kLongestFetch_bytes, wanted.length - done)});
      ReadPlan plan;
      const PlanInUse in_use(*this, plan);
      MutexLock lock(mutex_);
      plan_read(plan, pieces, true);
      give_back_all(plan);
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

}  // namespace nbdstack
