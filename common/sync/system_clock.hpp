// The machine's clock and plain sleeping: for callers that check for shutdown themselves, and for
// the time before the server serves, when nbdkit's own sleep (common/nbdkit/nbdkit_clock.hpp) is
// not allowed.
#pragma once

#include <thread>

#include "common/sync/clock.hpp"

namespace nbdstack {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return std::chrono::steady_clock::now(); }
  void sleep_for(Duration duration) override { std::this_thread::sleep_for(duration); }
};

}  // namespace nbdstack
