// The thread that drives an export's background work.
//
// It has a layer below of its own, opened when there is first something to do and kept until the
// thread stops: a background write-back belongs to no client's connection.
//
// Started after the server has forked; stopped before the chain below is gone.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "common/block/layer.hpp"
#include "common/sync/clock.hpp"
#include "filters/cache/block_cache.hpp"

namespace nbdstack {

class BackgroundThread {
 public:
  using OpenBelow = std::function<std::unique_ptr<Layer>()>;

  // Sets the cache's on_background_wanted(); `cache` outlives the thread.
  BackgroundThread(BlockCache& cache, OpenBelow open_below);
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;
  // Waits for a step that is under way.
  ~BackgroundThread();

 private:
  void main();
  TimePoint step(TimePoint now);

  BlockCache& cache_;
  const OpenBelow open_below_;
  std::unique_ptr<Layer> below_;  // the thread's own

  std::mutex mutex_;  // protects everything below but the thread
  std::condition_variable changed_;
  bool wanted_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
