// Time, as an interface: waits and expiry use a fake clock in tests.
#pragma once

#include <chrono>

namespace nbdstack {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock() = default;

  [[nodiscard]] virtual TimePoint now() const = 0;
  // May throw Error(ESHUTDOWN) when the clock's owner stops. Never called with a lock held.
  virtual void sleep_for(Duration duration) = 0;
};

}  // namespace nbdstack
