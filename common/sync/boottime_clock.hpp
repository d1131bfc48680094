// The machine's clock that also counts the time asleep (CLOCK_BOOTTIME): for promises to others,
// which continue to expire while this machine is suspended. Linux's steady clock stands still then.
//
// Its points in time have nothing to do with those of SystemClock: never compare the two.
#pragma once

#include <ctime>
#include <thread>

#include "common/sync/clock.hpp"

namespace nbdstack {

class BoottimeClock final : public Clock {
 public:
  // Takes nanoseconds, without a system call.
  [[nodiscard]] TimePoint now() const override {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return TimePoint(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
  }
  void sleep_for(Duration duration) override { std::this_thread::sleep_for(duration); }
};

}  // namespace nbdstack
