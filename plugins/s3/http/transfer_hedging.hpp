// When to send a GET a second time because the first is unusually late.
//
// "The tail at scale" (Dean and Barroso, 2013): a second request after the 99th percentile of the
// usual time cuts the tail for a few percent of more requests. Here:
//
//   the usual time   of GETs of about the same size (a power of two), to the first byte of the
//                    answer and to its last, each by its own percentile
//   late             no first byte beyond the one, and beyond kLateness_min in any case; or no last
//                    byte beyond the other, and not a byte since as long as another first byte
//                    usually takes: what still comes is not late, only slow
//   at most          kSharePercent of the GETs, saved up to kSaved_max of them: where everything is
//                    slow, twice the requests would make it slower
//
// Not thread-safe: its owner's lock protects it (transfer_places.hpp).
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <optional>

#include "common/sync/clock.hpp"
#include "plugins/s3/http/latency_percentile.hpp"

namespace nbdstack {

class TransferHedging {
 public:
  static constexpr Duration kLateness_min = std::chrono::milliseconds(50);
  static constexpr unsigned kSharePercent = 5;
  static constexpr unsigned kSaved_max = 10;

  // A GET of `bytes` was answered.
  void answered(std::size_t bytes, Duration to_first_byte, Duration to_last_byte) {
    Usual& usual = usual_of(bytes);
    usual.first_byte.add(to_first_byte);
    usual.last_byte.add(to_last_byte);
    saved_ = std::min(saved_ + kSharePercent, 100 * kSaved_max);
  }

  struct Late {
    std::size_t bytes = 0;
    Duration waited{};  // since it was sent
    Duration silent{};  // since a byte last moved
    bool has_first_byte = false;
  };
  // Returns whether to send a late request again. If so, it spends a share, so it is called only by
  // a caller that can send one now.
  bool should_repeat(const Late& late) {
    if (late.waited < kLateness_min || saved_ < 100) return false;
    const Usual& usual = usual_of(late.bytes);
    const bool yes =
        late.has_first_byte
            ? is_beyond(usual.last_byte, late.waited) && is_beyond(usual.first_byte, late.silent)
            : is_beyond(usual.first_byte, late.waited) || is_beyond(usual.last_byte, late.waited);
    if (yes) saved_ -= 100;
    return yes;
  }

 private:
  struct Usual {
    LatencyPercentile first_byte;
    LatencyPercentile last_byte;
  };

  static bool is_beyond(const LatencyPercentile& usual, Duration waited) {
    const std::optional<Duration> limit = usual.at(99);
    return limit && waited > *limit;
  }

  // One for everything up to 64 KiB, one for each doubling, one from 16 MiB on.
  Usual& usual_of(std::size_t bytes) {
    const auto doublings =
        static_cast<std::size_t>(std::bit_width(std::max<std::size_t>(bytes, 1) - 1));
    return usual_.at(doublings <= 16 ? 0 : std::min(doublings - 16, usual_.size() - 1));
  }

  std::array<Usual, 9> usual_;
  unsigned saved_ = 0;  // in hundredths of a GET
};

}  // namespace nbdstack
