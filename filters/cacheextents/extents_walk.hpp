// A walk over a whole export in the background, which asks for what is not known, so that the first
// client finds it known.
//
// One question at a time, from the beginning to the end, once. It is a hint: it ends at the first
// failure, or when there is no room for more, and is then forgotten.
//
// A thread with a layer below of its own, which belongs to no client's connection. Started after
// the server has forked; stopped before the chain below is gone. Stopping waits for the question
// that is under way.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "common/block/layer.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "filters/cacheextents/known_extents.hpp"

namespace nbdstack {

class ExtentsWalk {
 public:
  using OpenBelow = std::function<std::unique_ptr<Layer>()>;

  // `known` outlives the walk. The export's name is for the log, and fit for it (quoted_name()).
  ExtentsWalk(KnownExtents& known, std::string export_name, OpenBelow open_below);

  // No further question is begun.
  void stop() { thread_.request_stop(); }
  // Until it has ended, one way or the other.
  void wait() const { ended_.wait(false); }

 private:
  void main();
  void walk(Layer& below);
  std::uint64_t step(Layer& below, std::uint64_t position);

  KnownExtents& known_;
  const std::string export_name_;
  const OpenBelow open_below_;
  std::atomic<bool> ended_{false};
  StoppableThread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
