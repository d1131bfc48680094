#include "common/nbdkit/server_stop.hpp"

#include <nbdkit-filter.h>

namespace nbdstack {

bool ServerStop::has_begun() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  thread_.wake();
  changed_.wait(lock, [&] { return begun_ || answered_ >= mine; });
  return begun_;
}

void ServerStop::look_when_asked(StoppableThread& self) {
  while (self.pause()) {
    std::unique_lock lock(mutex_);
    const std::uint64_t answering = asked_;
    if (answering == answered_) continue;  // by the last look
    lock.unlock();
    const bool cut_off = nbdkit_nanosleep(0, 1) == -1;
    lock.lock();
    begun_ = cut_off;
    answered_ = answering;
    changed_.notify_all();
    if (begun_) return;
  }
}

}  // namespace nbdstack
