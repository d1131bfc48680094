// Asks the service manager for more time to stop, as long as a write-back makes progress.
//
// systemd kills a service that has not ended TimeoutStopSec after the signal, unless it requests
// more (EXTEND_TIMEOUT_USEC). Without a service manager this does nothing.
#pragma once

#include <cstdint>
#include <functional>

#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class StopExtension {
 public:
  // `progress` returns a number that changes with each progress. Any thread may call it.
  explicit StopExtension(std::function<std::uint64_t()> progress);

 private:
  StoppableThread thread_;
};

}  // namespace nbdstack
