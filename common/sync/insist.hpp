// For steps that must not fail: other threads wait for them, or they must not be done by halves.
//
// They allocate little. If even that fails they wait for memory, because giving up would leave
// other threads waiting for ever, or lose what a client was told is stored.
#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace nbdstack {

// Calls step(guarded...) until it does not run out of memory; a call that did must have changed
// nothing. `guarded` are objects that the caller's mutex guards: no lambda may access them itself.
template <typename Step, typename... Guarded>
decltype(auto) insist(Step&& step, Guarded&... guarded) {
  while (true) {
    try {
      return step(guarded...);
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

}  // namespace nbdstack
