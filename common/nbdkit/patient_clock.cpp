#include "common/nbdkit/patient_clock.hpp"

#include <nbdkit-filter.h>

#include <algorithm>

#include "common/error.hpp"

namespace nbdstack {
namespace {

// How long a sleeper can overlook the end of the server.
constexpr auto kLookEvery = std::chrono::milliseconds(100);

}  // namespace

PatientClock::~PatientClock() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PatientClock::sleep_for(Duration duration) {
  const TimePoint end = now() + duration;
  while (now() < end) {
    if (is_stopping()) throw Error(ESHUTDOWN, "stopped waiting: the server is shutting down");
    std::this_thread::sleep_for(std::min<Duration>(kLookEvery, end - now()));
  }
}

bool PatientClock::is_stopping() {
  std::unique_lock lock(mutex_);
  const std::uint64_t mine = ++asked_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return stopping_ || answered_ >= mine; });
  return stopping_;
}

void PatientClock::look_when_asked() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    changed_.wait(lock, [&] { return asked_ > answered_ || ended_; });
    if (ended_) return;
    const std::uint64_t answering = asked_;
    lock.unlock();
    const bool cut_off = nbdkit_nanosleep(0, 1) == -1;
    lock.lock();
    stopping_ = cut_off;
    answered_ = answering;
    changed_.notify_all();
  }
}

}  // namespace nbdstack
