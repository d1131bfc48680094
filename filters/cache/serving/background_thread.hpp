// The thread that drives an export's background work.
//
// It works over the layer that BackgroundBelow finds, and sleeps while there is none.
//
// Started after the server has forked; stopped before the chain below is gone.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "common/block/background_below.hpp"
#include "common/sync/clock.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "filters/cache/engine/block_cache.hpp"

namespace nbdstack {

class BackgroundThread {
 public:
  // Whether anything may be written there now.
  using MayWrite = std::function<bool(Layer&)>;

  // Sets the cache's on_background_wanted(); `cache` outlives the thread.
  BackgroundThread(
      BlockCache& cache, std::unique_ptr<BackgroundBelow> below,
      MayWrite may_write = [](Layer&) { return true; });
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;
  // Waits for a step that is under way.
  ~BackgroundThread();

  // There may be something to do, or a layer to do it with.
  void wake() { thread_.wake(); }

 private:
  TimePoint step(TimePoint now);
  TimePoint careless_step(TimePoint now);
  // Nothing is to be done below.
  TimePoint rest(TimePoint now);

  BlockCache& cache_;
  std::unique_ptr<BackgroundBelow> below_;  // gone when the thread has ended
  const MayWrite may_write_;
  std::optional<TimePoint> rest_at_;  // while there is nothing to do: when the layer is closed
  StoppableThread thread_;            // last: it uses all of the above
};

}  // namespace nbdstack
