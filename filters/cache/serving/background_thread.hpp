// The thread that runs an export's background work, over the layer that BackgroundBelow finds. It
// sleeps while there is none.
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
  // Returns whether the layer may be written now.
  using MayWrite = std::function<bool(Layer&)>;

  // Sets the cache's on_background_wanted(); `cache` outlives the thread.
  BackgroundThread(
      BlockCache& cache, std::unique_ptr<BackgroundBelow> below,
      MayWrite may_write = [](Layer&) { return true; });
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;
  // Waits for the end of a running step.
  ~BackgroundThread();

  // Called when there may be work, or a layer to do it with.
  void wake() { thread_.wake(); }

 private:
  TimePoint step(TimePoint now);
  TimePoint careless_step(TimePoint now);
  // Called if there is no work below.
  TimePoint rest(TimePoint now);

  BlockCache& cache_;
  std::unique_ptr<BackgroundBelow> below_;  // gone when the thread has ended
  const MayWrite may_write_;
  std::optional<TimePoint> rest_at_;  // without work: the time to close the layer
  StoppableThread thread_;            // last: it uses all of the above
};

}  // namespace nbdstack
