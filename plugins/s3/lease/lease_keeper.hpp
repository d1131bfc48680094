// The thread that keeps a lease renewed while the server serves.
//
// It looks at the time every LeaseTiming::pause() instead of sleeping until the renewal is due:
// after a suspend, which a sleep does not count, the lease must be renewed at once.
#pragma once

#include <exception>

#include "common/log.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "plugins/s3/lease/lease.hpp"

namespace nbdstack {

class LeaseKeeper {
 public:
  // Starts the thread: not before the server has gone into the background. `lease` outlives this,
  // and nobody else drives it until stop().
  LeaseKeeper(Lease& lease, Duration pause)
      : thread_([&lease, pause](StoppableThread& self) {
          do {
            tend(lease);
          } while (self.pause_for(pause));
        }) {}

  // Joins the thread, which takes no longer than the renewal that is under way, if one is: a
  // request that gets no answer ends it, so that is about the timeout of the lease's store. May be
  // called again.
  void stop() { thread_.stop(); }

 private:
  static void tend(Lease& lease) {
    try {
      lease.tend();
    } catch (const std::exception& error) {
      // No memory, say. The lease runs out by itself if that goes on.
      log::error("the lease was not renewed: {}", error.what());
    }
  }

  StoppableThread thread_;
};

}  // namespace nbdstack
