#include "common/nbdkit/server_stop.hpp"

#include <nbdkit-filter.h>

namespace nbdstack {

bool ServerStop::has_begun() {
  const MutexLock lock(mutex_);
  const std::uint64_t mine = ++requested_;
  thread_.wake();
  while (!begun_ && done_ < mine) changed_.wait(mutex_);
  return begun_;
}

void ServerStop::check_on_request(StoppableThread& self) {
  while (self.pause()) {
    MutexLock lock(mutex_);
    const std::uint64_t now = requested_;
    if (now == done_) continue;  // by the last check
    lock.unlock();
    const bool cut_off = nbdkit_nanosleep(0, 1) == -1;
    lock.lock();
    begun_ = cut_off;
    done_ = now;
    changed_.notify_all();
    if (begun_) return;
  }
}

}  // namespace nbdstack
