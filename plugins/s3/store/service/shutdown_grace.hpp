// Decides which operations may continue once the server has been told to stop.
//
// A cache above writes its dirty blocks back while the server stops: these last writes must reach
// the service if it can be reached at all, however many there are. But a server that stops must
// also end. So the grace period is one of silence: each piece of a body that is sent or received
// and each operation that succeeds starts it again, and time without any operation does not count.
//
//   operation                           ends
//   a read begun before the stop        at once: its client is being disconnected
//   a write, whenever it was begun      when there is no progress for the grace period
//   a read begun after the stop         like a write: one of a part of an object begins with a read
//
// After such a silence an operation gets no more than its first attempt, until one succeeds. It
// ends with ETIMEDOUT then: on ESHUTDOWN the layers above would repeat the request.
//
// Checking for the stop needs a round trip to another thread (common/nbdkit/server_stop.hpp), so
// one check serves all operations for kLookEvery, and the begin of an operation makes none. When
// The noticed stop is later than the last check that saw none: an operation that was begun after
// that check counts as begun after the stop.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "common/sync/clock.hpp"
#include "common/sync/mutex.hpp"

namespace nbdstack {

class ShutdownGrace {
 public:
  static constexpr Duration kLookEvery = std::chrono::milliseconds(20);

  // Determines when the operation ends.
  struct Operation {
    bool writes = false;
    TimePoint begun{};
  };

  // `has_stopped` is called by many threads. If it is empty, the server never stops.
  ShutdownGrace(std::function<bool()> has_stopped, Clock& clock, Duration grace)
      : has_stopped_(std::move(has_stopped)), clock_(clock), grace_(grace) {}

  // An operation is under way for as long as this lives.
  class Stay {
   public:
    Stay(ShutdownGrace& at, bool writes) : operation(at.begin(writes)), at_(at) {}
    Stay(const Stay&) = delete;
    Stay& operator=(const Stay&) = delete;
    ~Stay() { at_.end(); }
    const Operation operation;

   private:
    ShutdownGrace& at_;
  };

  // A piece of a body has arrived, or an operation has succeeded.
  void got_on() {
    if (!has_noticed_) return;
    const MutexLock lock(mutex_);
    silent_ = false;
    got_on_at_ = clock_.now();
  }

  // To be called again and again during the operation. Returns whether it is to end.
  bool is_over_for(const Operation& operation) {
    if (!has_stopped_) return false;
    const TimePoint now = std::chrono::steady_clock::now();
    {
      const MutexLock lock(mutex_);
      if (!stopped_at_ && now < last_look_ + kLookEvery) return false;
      if (stopped_at_) return is_over_after_stop(operation);
    }
    const bool stopped = has_stopped_();
    const TimePoint stop = clock_.now();
    const MutexLock lock(mutex_);
    if (!stopped && !stopped_at_) last_look_ = std::max(last_look_, now);
    if (stopped && !stopped_at_) stopped_at_ = stop;
    if (stopped) has_noticed_ = true;
    return stopped_at_ && is_over_after_stop(operation);
  }

  // Returns whether operations are over because there was no progress for the grace period.
  [[nodiscard]] bool is_silent() {
    const MutexLock lock(mutex_);
    return silent_;
  }
  [[nodiscard]] Duration duration() const { return grace_; }

 private:
  Operation begin(bool writes) {
    const MutexLock lock(mutex_);
    if (under_way_++ == 0 && !silent_) got_on_at_ = clock_.now();
    return {writes, std::chrono::steady_clock::now()};
  }
  void end() {
    const MutexLock lock(mutex_);
    --under_way_;
  }

  bool is_over_after_stop(const Operation& operation) REQUIRES(mutex_) {
    if (!operation.writes && operation.begun < last_look_) return true;
    if (clock_.now() >= std::max(*stopped_at_, got_on_at_) + grace_) silent_ = true;
    return silent_;
  }

  const std::function<bool()> has_stopped_;
  Clock& clock_;
  const Duration grace_;
  std::atomic<bool> has_noticed_ = false;
  Mutex mutex_;
  // In real time, the begin of the last check that saw no stop.
  TimePoint last_look_ GUARDED_BY(mutex_){};
  std::optional<TimePoint> stopped_at_ GUARDED_BY(mutex_);  // by clock_: when it was noticed
  TimePoint got_on_at_ GUARDED_BY(mutex_){};                // by clock_; after the stop only
  std::size_t under_way_ GUARDED_BY(mutex_) = 0;            // operations
  bool silent_ GUARDED_BY(mutex_) = false;  // no progress for the grace period, nor since
};

}  // namespace nbdstack
