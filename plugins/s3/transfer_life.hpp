// How long a request may last: until its deadline, until its `is_over` says yes, or until the
// engine is destroyed. Asked by the caller's own thread, between two waits.
//
// `is_over` may take another thread's look (common/nbdkit/server_stop.hpp), so it is asked only
// every kAskEvery; no wait of the engine's lasts longer, so that this bounds every cancellation.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>

#include "common/error.hpp"
#include "common/sync/clock.hpp"

namespace nbdstack {

class TransferLife {
 public:
  static constexpr Duration kAskEvery = std::chrono::milliseconds(100);

  // Both references outlive it.
  TransferLife(TimePoint now, TimePoint deadline, const std::function<bool()>& is_over,
               const std::atomic<bool>& engine_stops)
      : deadline_(deadline),
        ask_due_(now + kAskEvery),
        is_over_(is_over),
        engine_stops_(engine_stops) {}

  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  // No wait may last beyond this.
  [[nodiscard]] TimePoint ask_due() const { return ask_due_; }

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

  const TimePoint deadline_;
  TimePoint ask_due_;
  const std::function<bool()>& is_over_;
  const std::atomic<bool>& engine_stops_;
};

}  // namespace nbdstack
