// Bounds the bytes of a download in flight to those of a second or so.
//
// The queue of a download is at the other end of the line, where the service's TCP fills it until a
// packet is lost. If that takes seconds, all replies behind it are as late: small reads, and the
// lease's. A receiver can offer a smaller window (Jiang et al., "Tackling Bufferbloat in 3G/4G
// Networks", 2012): the bytes of kSpan and a round trip keep the line full with a queue of kSpan.
//
// Once for each round trip, as the kernel measures it (with the queue), or sooner if that is too
// long:
//
//   answer comes for   round trip                      window
//   kSlow at least     longer than the shortest by     what comes in as long as the shortest and
//                      kSpan                           kSpan; no larger than before, and
//                                                      kWindow_bytes_min at least
//   less               as long                         as before: a slow server, or a lost packet
//   any time           shorter, and the window small   larger by the received bytes
//                      else                            left to the kernel
//
// So on a line that is fast, or whose queue is short, the window is never narrowed. The kernel
// keeps the window; this computes the next one.
//
// Not thread-safe: its owner is a transfer.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

#include "common/sync/clock.hpp"

namespace nbdstack {

class ReceivePace {
 public:
  static constexpr Duration kSpan = std::chrono::milliseconds(500);
  // No service is further away than that; a longer round trip was measured behind a queue.
  static constexpr Duration kRoundTrip_max = std::chrono::seconds(1);
  static constexpr Duration kSlow = std::chrono::seconds(2);
  static constexpr Duration kPeriod_min = std::chrono::milliseconds(100);
  static constexpr std::uint64_t kWindow_bytes_min = std::uint64_t{8} << 10U;
  // A window of this size is not raised.
  static constexpr std::uint64_t kWindowBytes_small = std::uint64_t{1} << 20U;

  struct Seen {
    std::uint64_t received_bytes = 0;  // by the connection
    Duration shortest_round_trip{};
    Duration round_trip{};  // 0 if not known yet
    std::uint64_t window_bytes = 0;
  };

  // Called when another answer begins. Earlier observations do not apply to it.
  void begin() { answer_begun_.reset(); }

  // Called with the present state while the body comes. Returns the window to offer, if it changes.
  std::optional<std::uint64_t> window(const Seen& seen, TimePoint now) {
    if (!answer_begun_) {
      answer_begun_ = now;
      begin_round(seen, now);
      return std::nullopt;
    }
    if (seen.round_trip == Duration{}) return std::nullopt;
    const Duration wanted = std::min(seen.shortest_round_trip, kRoundTrip_max) + kSpan;
    const Duration round = now - round_begun_;
    if (round < std::clamp(seen.round_trip, kPeriod_min, wanted)) return std::nullopt;
    const std::uint64_t come_bytes = seen.received_bytes - received_bytes_;
    begin_round(seen, now);
    if (seen.round_trip > wanted) {
      const auto enough_bytes = static_cast<std::uint64_t>(static_cast<double>(come_bytes) *
                                                           seconds(wanted) / seconds(round));
      if (now - *answer_begun_ < kSlow || enough_bytes >= seen.window_bytes) return std::nullopt;
      return std::max(enough_bytes, kWindow_bytes_min);
    }
    if (seen.window_bytes >= kWindowBytes_small || come_bytes == 0) return std::nullopt;
    return seen.window_bytes + come_bytes;
  }

 private:
  void begin_round(const Seen& seen, TimePoint now) {
    round_begun_ = now;
    received_bytes_ = seen.received_bytes;
  }
  static double seconds(Duration time) { return std::chrono::duration<double>(time).count(); }

  std::optional<TimePoint> answer_begun_;
  TimePoint round_begun_{};  // these two: the round
  std::uint64_t received_bytes_ = 0;
};

}  // namespace nbdstack
