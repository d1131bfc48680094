// The thread that keeps a lease renewed while the server serves.
//
// It checks the time every LeaseTiming::pause() instead of sleeping until the renewal is due: after
// a suspend, which a sleep does not count, the lease must be renewed at once.
#pragma once

#include <exception>

#include "common/log.hpp"
#include "common/sync/stoppable_thread.hpp"
#include "plugins/s3/lease/lease.hpp"

namespace nbdstack {

class LeaseKeeper {
 public:
  // Starts the thread, and so must not be called before the server is in the background. `lease`
  // outlives this, and no other thread drives it until stop().
  LeaseKeeper(Lease& lease, Duration pause)
      : thread_([&lease, pause](StoppableThread& self) {
          do {
            tend(lease);
          } while (self.pause_for(pause));
        }) {}

  // Joins the thread, which takes no longer than a renewal in flight, if there is one: its request
  // ends if it gets no answer, so that is about the timeout of the lease's store. May be called
  // repeatedly.
  void stop() { thread_.stop(); }

 private:
  static void tend(Lease& lease) {
    try {
      lease.tend();
    } catch (const std::exception& error) {
      // Out of memory, for example. If that persists, the lease expires by itself.
      log::error("the lease was not renewed: {}", error.what());
    }
  }

  StoppableThread thread_;
};

}  // namespace nbdstack
