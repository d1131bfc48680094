// A token bucket: how many bytes may pass now, and the time when more may.
//
// Tokens come at the rate, up to kBurst_s worth of them, so that an idle line earns no long burst.
// If any are left, a whole piece may be sent, even one that costs more: the rest is a debt for
// which all senders wait. (libcurl passes a received piece on as a whole or not at all.) So over
// any time t, at most rate * (t + burst) bytes and one piece pass.
//
// Not thread-safe: its owner's lock protects it (transfer_direction.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "common/sync/clock.hpp"

namespace nbdstack {

class BandwidthLimit {
 public:
  static constexpr double kBurst_s = 0.05;
  static constexpr double kQuantum_s = 0.01;  // a waiting sender continues when this much has come

  // There is no limit if the rate is 0.
  explicit BandwidthLimit(std::uint64_t bytes_per_s)
      : rate_(static_cast<double>(bytes_per_s)), tokens_(rate_ * kBurst_s) {}

  [[nodiscard]] bool is_limited() const { return rate_ > 0; }

  // Returns the size of a piece to send now, or 0 if none may be sent before ready_at().
  std::size_t allowance(TimePoint now) {
    if (!is_limited()) return std::numeric_limits<std::size_t>::max();
    refill(now);
    if (tokens_ <= 0) return 0;
    return std::max(static_cast<std::size_t>(rate_ * kQuantum_s), kPiece_bytes_min);
  }

  void spend(std::size_t bytes) {
    if (is_limited()) tokens_ -= static_cast<double>(bytes);
  }

  // Valid since the last allowance().
  [[nodiscard]] TimePoint ready_at() const {
    const double missing = std::max(rate_ * kQuantum_s - tokens_, 0.0);
    return filled_ + std::chrono::duration_cast<Duration>(
                         std::chrono::duration<double>(is_limited() ? missing / rate_ : 0));
  }

 private:
  static constexpr std::size_t kPiece_bytes_min = 4096;

  void refill(TimePoint now) {
    if (filled_ != TimePoint{}) {
      const std::chrono::duration<double> passed = now - filled_;
      tokens_ = std::min(tokens_ + rate_ * passed.count(), rate_ * kBurst_s);
    }
    filled_ = now;
  }

  const double rate_;  // bytes/s
  double tokens_;      // bytes; a debt if negative
  TimePoint filled_{};
};

}  // namespace nbdstack
