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
//
// A look whether the server stops takes another thread's turn (common/nbdkit/server_stop.hpp), so
// one serves all operations for kLookEvery, and none is taken when an operation begins. When the
// stop is noticed, it lies after the last look that saw none: what was begun after that look counts
// as begun after the stop.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "common/sync/clock.hpp"

namespace nbdstack {

class LastMinute {
 public:
  static constexpr Duration kLookEvery = std::chrono::milliseconds(20);

  // What one operation is judged by.
  struct Operation {
    bool writes = false;
    TimePoint begun{};
  };

  // `has_stopped` is asked from many threads; empty: the server never stops.
  LastMinute(std::function<bool()> has_stopped, Clock& clock, Duration grace)
      : has_stopped_(std::move(has_stopped)), clock_(clock), grace_(grace) {}

  Operation begin(bool writes) { return {writes, std::chrono::steady_clock::now()}; }

  // To be asked again and again while the operation lasts.
  bool is_over_for(const Operation& operation) {
    if (!has_stopped_) return false;
    const TimePoint now = std::chrono::steady_clock::now();
    {
      const std::lock_guard lock(mutex_);
      if (!stopped_at_ && now < last_look_ + kLookEvery) return false;
      if (stopped_at_) return is_over_after_stop(operation);
    }
    const bool stopped = has_stopped_();
    const TimePoint stop = clock_.now();
    const std::lock_guard lock(mutex_);
    if (!stopped && !stopped_at_) last_look_ = std::max(last_look_, now);
    if (stopped && !stopped_at_) stopped_at_ = stop;
    return stopped_at_ && is_over_after_stop(operation);
  }

 private:
  // The mutex is held.
  bool is_over_after_stop(const Operation& operation) const {
    if (!operation.writes && operation.begun < last_look_) return true;
    return clock_.now() >= *stopped_at_ + grace_;
  }

  const std::function<bool()> has_stopped_;
  Clock& clock_;
  const Duration grace_;
  std::mutex mutex_;       // protects what follows
  TimePoint last_look_{};  // real time, as of just before it: the server had not stopped
  std::optional<TimePoint> stopped_at_;  // by the clock: when that was first noticed
};

}  // namespace nbdstack
