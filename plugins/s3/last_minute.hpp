// What may still be done once the server has been told to stop.
//
// A cache above writes back what is dirty while the server stops: these last writes must reach the
// service if it can be reached at all. But a server that stops must also end.
//
//   operation                           ends
//   a read begun before the stop        at once: its client is being sent away
//   a write, whenever it was begun      when the grace period is over
//   a read begun after the stop         when the grace period is over: a write of a part of an
//                                       object begins with one
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "common/sync/clock.hpp"

namespace nbdstack {

class LastMinute {
 public:
  // What one operation is judged by.
  struct Operation {
    bool writes = false;
    bool begun_after_stop = false;
  };

  // `has_stopped` is asked from many threads; empty: the server never stops.
  LastMinute(std::function<bool()> has_stopped, Clock& clock, Duration grace)
      : has_stopped_(std::move(has_stopped)), clock_(clock), grace_(grace) {}

  Operation begin(bool writes) { return {writes, stopped_at().has_value()}; }

  // To be asked again and again while the operation lasts.
  bool is_over_for(const Operation& operation) {
    const auto stopped = stopped_at();
    if (!stopped) return false;
    if (!operation.writes && !operation.begun_after_stop) return true;
    return clock_.now() >= *stopped + grace_;
  }

 private:
  // When the stop was first noticed.
  std::optional<TimePoint> stopped_at() {
    if (!has_stopped_ || !has_stopped_()) return std::nullopt;
    const TimePoint now = clock_.now();
    const std::lock_guard lock(mutex_);
    if (!stopped_at_) stopped_at_ = now;
    return stopped_at_;
  }

  const std::function<bool()> has_stopped_;
  Clock& clock_;
  const Duration grace_;
  std::mutex mutex_;  // protects stopped_at_
  std::optional<TimePoint> stopped_at_;
};

}  // namespace nbdstack
