// The server's clock: sleeping ends at once when the server is told to stop.
#pragma once

#include "common/sync/clock.hpp"

namespace nbdstack {

class NbdkitClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override;
  // Throws Error(ESHUTDOWN) when the server stops.
  void sleep_for(Duration duration) override;
};

}  // namespace nbdstack
