// What may still be done once the server has been told to stop.
//
// A cache above writes back what is dirty while the server stops: these last writes must reach the
// service if it can be reached at all, however much there is. But a server that stops must also
// end. So the grace period is one of silence: it begins anew with each piece of a body that arrives,
// either way, and with each operation that succeeds, and time in which nobody wants anything does
// not count.
//
//   operation                           ends
//   a read begun before the stop        at once: its client is being sent away
//   a write, whenever it was begun      when nothing has got on for the grace period
//   a read begun after the stop         the same: a write of a part of an object begins with one
//
// After such a silence an operation gets no more than its first attempt, until one succeeds. It ends
// with ETIMEDOUT then: ESHUTDOWN would say that the layers above need only ask again.
//
// A look whether the server stops takes another thread's turn (common/nbdkit/server_stop.hpp), so
// one serves all operations for kLookEvery, and none is taken when an operation begins. When the
// stop is noticed, it lies after the last look that saw none: what was begun after that look counts
// as begun after the stop.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "common/sync/clock.hpp"

namespace nbdstack {

class ShutdownGrace {
 public:
  static constexpr Duration kLookEvery = std::chrono::milliseconds(20);

  // What one operation is judged by.
  struct Operation {
    bool writes = false;
    TimePoint begun{};
  };

  // `has_stopped` is asked from many threads; empty: the server never stops.
  ShutdownGrace(std::function<bool()> has_stopped, Clock& clock, Duration grace)
      : has_stopped_(std::move(has_stopped)), clock_(clock), grace_(grace) {}

  // An operation is under way for as long as this lives.
  class Stay {
   public:
    Stay(ShutdownGrace& at, bool writes) : operation(at.begin(writes)), at_(at) {}
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;
    ~Stay() {
      const std::lock_guard lock(at_.mutex_);
      --at_.under_way_;
    }
    const Operation operation;

   private:
    ShutdownGrace& at_;
  };

  // A piece of a body has arrived, or an operation has succeeded.
  void got_on() {
    if (!has_noticed_) return;
    const std::lock_guard lock(mutex_);
    silent_ = false;
    got_on_at_ = clock_.now();
  }

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
    if (stopped) has_noticed_ = true;
    return stopped_at_ && is_over_after_stop(operation);
  }

  // Whether nothing has got on for the grace period: what is over is so for that reason.
  [[nodiscard]] bool is_silent() {
    const std::lock_guard lock(mutex_);
    return silent_;
  }
  [[nodiscard]] Duration duration() const { return grace_; }

 private:
  Operation begin(bool writes) {
    const std::lock_guard lock(mutex_);
    if (under_way_++ == 0 && !silent_) got_on_at_ = clock_.now();
    return {writes, std::chrono::steady_clock::now()};
  }

  // The mutex is held.
  bool is_over_after_stop(const Operation& operation) {
    if (!operation.writes && operation.begun < last_look_) return true;
    if (clock_.now() >= std::max(*stopped_at_, got_on_at_) + grace_) silent_ = true;
    return silent_;
  }

  const std::function<bool()> has_stopped_;
  Clock& clock_;
  const Duration grace_;
  std::atomic<bool> has_noticed_ = false;
  std::mutex mutex_;       // protects what follows
  TimePoint last_look_{};  // real time, as of just before it: the server had not stopped
  std::optional<TimePoint> stopped_at_;  // by the clock: when that was first noticed
  TimePoint got_on_at_{};                // the same clock; after the stop only
  std::size_t under_way_ = 0;            // operations
  bool silent_ = false;  // the grace period has passed, and nothing has got on since
};

}  // namespace nbdstack
