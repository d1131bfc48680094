// A one-time signal from any thread to the caller that waits for its turn.
//
// A condition variable would do, but one on the waiter's stack must be notified with its mutex
// held, for which the waiter, once awake, waits: two more system calls for every wait. Here the
// signalling thread's last access sets the state; the kernel uses the address only as a name, and
// waking a name without waiters is harmless (glibc's sem_post relies on the same).
//
//   state      set by                  what signal() does
//   pending    the constructor         sets done
//   waited     wait_until()            sets done, wakes
//   done       signal()                (is called once)
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>

#include "common/sync/clock.hpp"

namespace nbdstack {

class TransferSignal {
 public:
  // The object may be gone as soon as the waiter has seen it.
  void signal() {
    if (state_.exchange(kDone, std::memory_order_acq_rel) == kWaited) {
      syscall(SYS_futex, &state_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }

  // Returns whether it was signalled before the deadline. One thread waits.
  bool wait_until(TimePoint deadline) {
    for (;;) {
      std::uint32_t expected = kPending;
      if (!state_.compare_exchange_strong(expected, kWaited, std::memory_order_acq_rel) &&
          expected == kDone) {
        return true;
      }
      const Duration since_boot = deadline.time_since_epoch();
      if (std::chrono::steady_clock::now() >= deadline) return false;
      // With this operation the time is an absolute one of CLOCK_MONOTONIC, which is steady_clock.
      const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
      const timespec until{.tv_sec = seconds.count(), .tv_nsec = (since_boot - seconds).count()};
      syscall(SYS_futex, &state_, FUTEX_WAIT_BITSET_PRIVATE, kWaited, &until, nullptr,
              FUTEX_BITSET_MATCH_ANY);
    }
  }

 private:
  static constexpr std::uint32_t kPending = 0;
  static constexpr std::uint32_t kWaited = 1;
  static constexpr std::uint32_t kDone = 2;

  std::atomic<std::uint32_t> state_{kPending};
  static_assert(std::atomic<std::uint32_t>::is_always_lock_free);
};

}  // namespace nbdstack
