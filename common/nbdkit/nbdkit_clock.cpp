#include "common/nbdkit/nbdkit_clock.hpp"

#include <nbdkit-filter.h>

#include "common/error.hpp"

namespace nbdstack {

TimePoint NbdkitClock::now() const {
  return std::chrono::steady_clock::now();
}

void NbdkitClock::sleep_for(Duration duration) {
  if (duration <= Duration::zero()) return;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  const auto rest = std::chrono::nanoseconds(duration - seconds);
  if (nbdkit_nanosleep(static_cast<unsigned>(seconds.count()),
                       static_cast<unsigned>(rest.count())) == -1) {
    throw Error(ESHUTDOWN, "stopped waiting: the server is shutting down");
  }
}

}  // namespace nbdstack
