// A thread that retries something until it is done, with pauses from a second to a minute.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "common/sync/stoppable_thread.hpp"

namespace nbdstack {

class UntilDone {
 public:
  // `attempt` returns whether it is done.
  explicit UntilDone(std::function<bool()> attempt)
      : thread_([attempt = std::move(attempt)](StoppableThread& self) {
          constexpr std::chrono::seconds kLongest(60);
          std::chrono::seconds pause(1);
          while (self.pause_for(pause) && !attempt()) pause = std::min(2 * pause, kLongest);
        }) {}

 private:
  StoppableThread thread_;
};

}  // namespace nbdstack
