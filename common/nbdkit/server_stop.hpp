// Checks whether the server has been told to stop, for work that continues when the client that
// requested it has left.
//
// nbdkit_nanosleep() fails when the server stops, but in a connection's threads also when the
// client leaves. A write must not be abandoned for that: it may still reach the service, after a
// later write of the same block. So a thread that belongs to no connection calls it.
//
// It does so only on request, because nbdkit logs a line each time a sleep meets the end of the
// server: one line then shows that work was under way, and an idle server stops in silence.
#pragma once

#include <cstdint>

#include "common/sync/mutex.hpp"
#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class ServerStop {
 public:
  // Starts the thread, so not before after_fork.
  ServerStop() : thread_([this](StoppableThread& self) { check_on_request(self); }) {}

  // Checks it now, which takes microseconds. To be called repeatedly during long work.
  bool has_begun() EXCLUDES(mutex_);

 private:
  void check_on_request(StoppableThread& self) EXCLUDES(mutex_);

  Mutex mutex_;
  ConditionVariable changed_;
  std::uint64_t requested_ GUARDED_BY(mutex_) = 0;  // number of checks
  std::uint64_t done_ GUARDED_BY(mutex_) = 0;       // of these
  bool begun_ GUARDED_BY(mutex_) = false;
  StoppableThread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
