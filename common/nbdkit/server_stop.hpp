// Whether the server has been told to stop, for work that goes on when the client who asked for it
// has gone.
//
// nbdkit says that it stops by ending its sleep, and says the same in a connection's threads when
// the client leaves. A write that is under way must not be given up for that: it may still reach
// the service, after a later write of the same block. So a thread of its own, which belongs to no
// connection, does the looking.
//
// It looks only when asked, because nbdkit logs a line each time a sleep meets the end of the
// server: one line then tells that work was under way, and an idle server stops in silence.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class ServerStop {
 public:
  // Starts the thread: not before after_fork.
  ServerStop() : thread_([this](StoppableThread& self) { look_when_asked(self); }) {}

  // Takes a look, which is a matter of microseconds. To be called again and again while something
  // takes long.
  bool has_begun();

 private:
  void look_when_asked(StoppableThread& self);

  std::mutex mutex_;  // protects everything below but the thread
  std::condition_variable changed_;
  std::uint64_t asked_ = 0;     // looks asked for
  std::uint64_t answered_ = 0;  // looks taken
  bool begun_ = false;
  StoppableThread thread_;  // last: it uses all of the above
};

}  // namespace nbdstack
