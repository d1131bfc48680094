#include "common/nbdkit/server_stop.hpp"

#include <nbdkit-filter.h>

namespace nbdstack {

ServerStop::~ServerStop() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool ServerStop::has_begun() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return begun_ || answered_ >= mine; });
  return begun_;
}

void ServerStop::look_when_asked() {
  std::unique_lock lock(mutex_);
  while (!begun_) {
    changed_.wait(lock, [&] { return asked_ > answered_ || ended_; });
    if (ended_) return;
    const std::uint64_t answering = asked_;
    lock.unlock();
    const bool cut_off = nbdkit_nanosleep(0, 1) == -1;
    lock.lock();
    begun_ = cut_off;
    answered_ = answering;
    changed_.notify_all();
  }
}

}  // namespace nbdstack
