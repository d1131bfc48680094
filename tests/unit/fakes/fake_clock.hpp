// Time that passes only when somebody sleeps or the test says so.
#pragma once

#include <mutex>

#include "common/sync/clock.hpp"

namespace nbdstack::testing {

class FakeClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }
  void sleep_for(Duration duration) override { advance(duration); }

  void advance(Duration duration) {
    const std::lock_guard lock(mutex_);
    now_ += duration;
    slept_ += duration;
  }
  [[nodiscard]] Duration slept() const {
    const std::lock_guard lock(mutex_);
    return slept_;
  }

 private:
  mutable std::mutex mutex_;  // protects everything below
  TimePoint now_{};
  Duration slept_{};
};

}  // namespace nbdstack::testing
