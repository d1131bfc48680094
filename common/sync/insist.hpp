// For steps that must not fail: what others wait for, or what must not be done by halves.
//
// They allocate little. Where even that cannot be had they wait for memory, because to give up would
// leave others waiting for ever, or lose what a client was told is stored.
#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace nbdstack {

// Calls step(guarded...) until it does not run out of memory; one that did must have changed nothing.
// `guarded` is what a mutex guards that the caller holds: a lambda may not reach for it by itself.
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
