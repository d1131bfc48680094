// The thread that keeps a lease renewed while the server serves.
//
// It looks at the time every LeaseTiming::pause() instead of sleeping until the renewal is due:
// after a suspend, which a sleep does not count, the lease must be renewed at once.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/sync/clock.hpp"
#include "plugins/s3/lease/lease.hpp"

namespace nbdstack {

class LeaseKeeper {
 public:
  // Starts the thread: not before the server has gone into the background. `lease` outlives this,
  // and nobody else drives it until stop().
  LeaseKeeper(Lease& lease, Duration pause);
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;
  ~LeaseKeeper() { stop(); }

  // Joins the thread, which takes no longer than the renewal that is under way, if one is: a request
  // that gets no answer ends it, so that is about the timeout of the lease's store. May be called
  // again.
  void stop();

 private:
  void keep();

  Lease& lease_;
  const Duration pause_;
  std::mutex mutex_;  // protects stopping_
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
