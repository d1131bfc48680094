// How long a request may last: until its deadline, until its `is_over` returns true, or until the
// engine is destroyed. The caller's own thread checks it between two waits.
//
// Each progress of the request, in the queue or on the line, postpones the deadline. If the whole
// time counts (TransferTime::whole), it is fixed.
//
// `is_over` may need a round trip to another thread (common/nbdkit/server_stop.hpp), so it is
// called only every kAskEvery; no wait of the engine lasts longer, so this bounds every
// cancellation.
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>

#include "common/error.hpp"
#include "common/sync/clock.hpp"

namespace nbdstack {

enum class TransferTime : std::uint8_t { of_silence, whole };

class TransferLife {
 public:
  static constexpr Duration kAskEvery = std::chrono::milliseconds(100);

  // Both references outlive it.
  TransferLife(TimePoint now, Duration limit, TransferTime time,
               const std::function<bool()>& is_over, const std::atomic<bool>& engine_stops)
      : limit_(limit),
        time_(time),
        first_deadline_(now + limit),
        deadline_(first_deadline_),
        ask_due_(now + kAskEvery),
        is_over_(is_over),
        engine_stops_(engine_stops) {}

  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  // No wait may last beyond this.
  [[nodiscard]] TimePoint ask_due() const { return ask_due_; }

  // It has got on, the last time at `when`.
  void got_on(TimePoint when) {
    if (time_ == TransferTime::of_silence) deadline_ = std::max(deadline_, when + limit_);
  }
  // By how much the deadline has been put off.
  [[nodiscard]] Duration put_off() const { return deadline_ - first_deadline_; }

  // Throws Error(ESHUTDOWN) when the request is over, and whatever is_over throws.
  void ask_if_due(TimePoint now) {
    if (engine_stops_) give_up();
    if (now < ask_due_) return;
    ask_due_ = now + kAskEvery;
    if (is_over_ && is_over_()) give_up();
  }

 private:
  [[noreturn]] static void give_up() {
    throw Error(ESHUTDOWN, "the request was given up: the server is shutting down");
  }

  const Duration limit_;
  const TransferTime time_;
  const TimePoint first_deadline_;
  TimePoint deadline_;
  TimePoint ask_due_;
  const std::function<bool()>& is_over_;
  const std::atomic<bool>& engine_stops_;
};

}  // namespace nbdstack
