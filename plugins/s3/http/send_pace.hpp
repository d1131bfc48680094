// Bounds the bytes of an upload in flight to those acknowledged within half a second.
//
// A TCP connection sends until a packet is lost. On a slow line with a long queue that takes many
// seconds, and all requests behind it are as late ("bufferbloat"): small reads, and the lease's
// renewal. So nothing is passed to the kernel while bytes that were passed more than kSpan and a
// round trip ago are still not acknowledged. As the queue is shared, that bounds it for all
// uploads, whatever its possible length, and the line stays full. LEDBAT (RFC 6817) keeps a target
// delay for the same purpose.
//
// The bytes in flight are also bounded by a window, which is small at first and grows with the
// acknowledged bytes, like TCP's (slow start): the kernel would accept a megabyte at once, before
// anything can be old. When something is, the window becomes the bytes acknowledged within kSpan
// and a round trip, once for such a time and no smaller than by half, and grows by a quarter from
// then on: with four uploads the queue of a line of 1 Mbit/s is 0.8 s, where halves alone left 2.
// Pieces are small, too, and larger if they are accepted at once, so that the time of each byte is
// known finely enough.
//
//   a piece is requested                 and everything before is with the kernel
//     something is old, or the window    none for now: to be requested again after kPause
//       is full
//     else                               a piece; handed() tells how much of it was accepted
//   begin()                              another body on the same connection: the window stays
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "common/sync/clock.hpp"

namespace nbdstack {

class SendPace {
 public:
  static constexpr Duration kSpan = std::chrono::milliseconds(500);
  static constexpr Duration kPause = std::chrono::milliseconds(25);
  static constexpr std::size_t kPiece_bytes_min = std::size_t{8} << 10U;
  static constexpr std::size_t kPiece_bytes_max = std::size_t{256} << 10U;
  static constexpr std::uint64_t kWindow_bytes_min = std::uint64_t{16} << 10U;
  static constexpr std::uint64_t kWindow_bytes_max = std::uint64_t{1} << 40U;

  void begin() {
    marks_.clear();
    handed_bytes_ = 0;
    acknowledged_bytes_ = 0;
    round_ = {};
  }

  // Returns the largest size of the next piece, with this many bytes in the kernel not
  // acknowledged; 0 if none may be sent now.
  std::size_t allowance(std::size_t unacknowledged_bytes, Duration round_trip, TimePoint now) {
    acknowledge(handed_bytes_ - std::min<std::uint64_t>(handed_bytes_, unacknowledged_bytes));
    const Duration wanted = kSpan + round_trip;
    const bool is_old = !marks_.empty() && now - marks_.front().handed > wanted;
    if (now - round_.begun > wanted) {
      if (is_old) narrow(wanted, now);
      round_ = {now, acknowledged_bytes_};
    }
    if (is_old) return 0;
    const std::uint64_t room =
        window_bytes_ - std::min<std::uint64_t>(window_bytes_, unacknowledged_bytes);
    return room < kPiece_bytes_min ? 0 : std::min<std::uint64_t>(piece_bytes_, room);
  }

  void handed(std::size_t bytes, TimePoint now) {
    piece_bytes_ =
        now - last_ < kQuick ? std::min(2 * piece_bytes_, kPiece_bytes_max) : kPiece_bytes_min;
    last_ = now;
    handed_bytes_ += bytes;
    marks_.push_back({now, handed_bytes_});
  }

 private:
  void acknowledge(std::uint64_t bytes) {
    if (bytes <= acknowledged_bytes_) return;
    const std::uint64_t more_bytes = (bytes - acknowledged_bytes_) / (was_narrowed_ ? kSlowly : 1);
    window_bytes_ = std::min(window_bytes_ + more_bytes, kWindow_bytes_max);
    acknowledged_bytes_ = bytes;
    while (!marks_.empty() && marks_.front().bytes <= bytes) marks_.pop_front();
  }

  void narrow(Duration wanted, TimePoint now) {
    const double round_s = std::chrono::duration<double>(now - round_.begun).count();
    const double part = std::chrono::duration<double>(wanted).count() / round_s;
    const auto bytes = static_cast<double>(acknowledged_bytes_ - round_.acknowledged_bytes) * part;
    const std::uint64_t least_bytes = std::max(window_bytes_ / 2, kWindow_bytes_min);
    window_bytes_ = std::clamp(static_cast<std::uint64_t>(bytes), least_bytes,
                               std::max(window_bytes_, least_bytes));
    was_narrowed_ = true;
  }

  static constexpr Duration kQuick = std::chrono::milliseconds(20);
  static constexpr std::uint64_t kSlowly = 4;

  struct Round {
    TimePoint begun{};
    std::uint64_t acknowledged_bytes = 0;  // until that time
  };
  struct Mark {
    TimePoint handed;
    std::uint64_t bytes;  // all bytes passed by then
  };

  std::deque<Mark> marks_;          // of unacknowledged bytes
  std::uint64_t handed_bytes_ = 0;  // these two: of the body
  std::uint64_t acknowledged_bytes_ = 0;
  std::uint64_t window_bytes_ = kWindow_bytes_min;
  Round round_;
  bool was_narrowed_ = false;
  std::size_t piece_bytes_ = kPiece_bytes_min;
  TimePoint last_{};
};

}  // namespace nbdstack
