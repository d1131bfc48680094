// Asks the service manager for more time to stop, for as long as a write-back gets on.
//
// systemd kills a service that has not ended TimeoutStopSec after the signal, unless it asks for
// more (EXTEND_TIMEOUT_USEC). Without a service manager this does nothing.
#pragma once

#include <cstdint>
#include <functional>

#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class StopExtension {
 public:
  // `progress` returns a number that changes when something has got on. Any thread.
  explicit StopExtension(std::function<std::uint64_t()> progress);

 private:
  StoppableThread thread_;
};

}  // namespace nbdstack
