#include "plugins/s3/lease/lease_keeper.hpp"

#include <exception>

#include "common/log.hpp"

namespace nbdstack {

LeaseKeeper::LeaseKeeper(Lease& lease, Duration pause)
    : lease_(lease), pause_(pause), thread_([this] { keep(); }) {}

void LeaseKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LeaseKeeper::keep() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    try {
      lease_.tend();
    } catch (const std::exception& error) {
      // No memory, say. The lease runs out by itself if that goes on.
      log::error("the lease was not renewed: {}", error.what());
    }
    lock.lock();
    changed_.wait_for(lock, pause_, [this] { return stopping_; });
  }
}

}  // namespace nbdstack
