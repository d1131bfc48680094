// Finds the number of large transfers at a time that makes best use of the line.
//
// On a full line more transfers carry no more: each takes longer, small requests meet longer
// queues, and with less than a packet in flight on each connection some of them starve. If single
// connections are slow (a lossy line, a service that limits each), more of them carry more. A
// single transfer does not show which case it is, so both directions are tried, and the total
// throughput compared.
//
//   a large transfer took    number at a time
//   kQuick at most           one more: those in flight are no burden
//   longer                   half as many are tried at once, and then twice or half as many after
//                            every kHoldRounds
//
//   tried     is kept, and the next step     otherwise the former number returns and the other is
//             tried, if the round carries    tried; if that fails, too, it stays for kHoldRounds
//   fewer     kKeepsPercent of the bytes before
//   more      half of the increase that this number could carry at best
//
// In a round there are as many answers as the limit, while others waited for a place all the time
// (otherwise the limit did not determine the number at a time), and no more were in flight than the
// limit. Throughput is counted in bytes, also of transfers that are not over yet.
//
// It begins with few transfers, like TCP (slow start, RFC 5681): sixteen transfers on a line of 1
// Mbit/s could not be taken back for minutes. If answers take long, growth does not wait for them:
// the limit grows by one as soon as the throughput would carry all transfers in flight and one more
// within kQuick. (On 100 Mbit/s with 200 ms the configured number is reached when TCP has filled
// the line, after 1.5 s, and not after 4.) BBR finds the end of its start-up by keeping growth only
// if it pays (Cardwell et al., "BBR: Congestion-Based Congestion Control", 2016), and PCC its rate
// by trials in both directions (Dong et al., "PCC: Re-architecting Congestion Control for
// Consistent High Performance", 2015).
//
// If nothing was in flight on the line for kIdle, the limit grows by one, so that transfers that
// wait for the service do not delay others.
//
// Externally synchronized (transfer_places.hpp).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

#include "common/sync/clock.hpp"

namespace nbdstack {

class LineConcurrency {
 public:
  static constexpr unsigned kFirst = 4;
  static constexpr unsigned kLeast = 2;  // one waits for its answer while the other sends
  static constexpr Duration kQuick = std::chrono::seconds(2);
  static constexpr Duration kIdle = std::chrono::seconds(1);
  // TCP sends bursts while it begins, and on a full line as long ones as it needs.
  static constexpr Duration kWindow = std::chrono::milliseconds(50);
  static constexpr unsigned kHoldRounds = 8;
  static constexpr unsigned kKeepsPercent = 90;

  explicit LineConcurrency(unsigned most)
      : most_(std::max(most, 1U)), limit_(std::min(most_, kFirst)) {}

  [[nodiscard]] unsigned limit() const { return limit_; }
  // Returns whether the transfers in flight are a burden to later ones.
  [[nodiscard]] bool is_slow() const { return is_slow_; }

  // To be called regularly with the bytes that all transfers have moved, also with 0.
  void carried(std::uint64_t bytes, TimePoint now) {
    carried_bytes_ += bytes;
    turn_window(now);
    if (bytes > 0) is_under_way(now);
  }
  // Called if no bytes have moved, but some are on their way.
  void is_under_way(TimePoint now) { busy_ = std::max(busy_, now); }

  // The answer to a large transfer that was under way since `begun`.
  struct Answer {
    TimePoint begun;
    TimePoint now;
    unsigned in_flight = 0;  // large transfers, including this one
    bool others_wait = false;
  };
  void answered(const Answer& answer) {
    busy_ = std::max(busy_, answer.now);
    is_slow_ = answer.now - answer.begun > kQuick;
    if (!is_slow_) {
      grow_as_quick();
      return;
    }
    if (!answer.others_wait || answer.in_flight > limit_) {
      is_counting_ = false;
    } else if (!is_counting_) {
      begin_round(answer.now);
    } else if (++answers_ >= limit_ && answer.now - round_begun_ >= kQuick) {
      end_round(answer.now);
    }
  }

  // Called when a transfer waits for a place that the limit does not allow. With it, large
  // transfers of `bytes` would be in flight.
  void is_wanted(std::uint64_t bytes, TimePoint now) {
    if (limit_ == most_) return;
    if (is_carried_quickly(bytes, now)) {
      grow_as_quick();
    } else if (now - busy_ >= kIdle) {
      busy_ = now;
      ++limit_;
      hold();
    }
  }

 private:
  enum class Trial : std::uint8_t { none, fewer, more };

  // The transfers in flight are no burden. If they become one, fewer are tried at once.
  void grow_as_quick() {
    limit_ = std::min(limit_ + 1, most_);
    hold();
    held_rounds_ = kHoldRounds;
    next_trial_ = Trial::fewer;
  }

  // At the rate of the latest window and the one before.
  [[nodiscard]] bool is_carried_quickly(std::uint64_t bytes, TimePoint now) const {
    const std::chrono::duration<double> quick = kQuick;
    const std::chrono::duration<double> measured = now - previous_window_.begun;
    const std::uint64_t carried = carried_bytes_ - previous_window_.carried_bytes;
    return static_cast<double>(carried) * quick.count() >=
           static_cast<double>(bytes) * measured.count();
  }

  void turn_window(TimePoint now) {
    if (now - window_.begun < kWindow) return;
    previous_window_ = std::exchange(window_, {now, carried_bytes_});
  }

  void begin_round(TimePoint now) {
    is_counting_ = true;
    answers_ = 0;
    round_begun_ = now;
    round_bytes_ = carried_bytes_;
  }

  void end_round(TimePoint now) {
    const std::chrono::duration<double> time = now - round_begun_;
    const double rate = static_cast<double>(carried_bytes_ - round_bytes_) / time.count();
    begin_round(now);
    switch (trial_) {
      case Trial::none:
        rate_ = rate;
        if (++held_rounds_ >= kHoldRounds) begin_trial(next_trial_);
        break;
      case Trial::fewer:
        end_trial(rate >= rate_ * kKeepsPercent / 100, Trial::more);
        break;
      case Trial::more:
        const double more = static_cast<double>(limit_) / former_limit_;
        const bool pays = rate >= rate_ * (1 + (more - 1) / 2);
        if (pays) rate_ = rate;
        end_trial(pays, Trial::fewer);
        break;
    }
  }

  void end_trial(bool was_of_use, Trial other) {
    const Trial same = trial_;
    failed_trials_ = was_of_use ? 0 : failed_trials_ + 1;
    if (!was_of_use) limit_ = former_limit_;
    hold();
    if (was_of_use) {
      begin_trial(same);
    } else if (failed_trials_ == 1) {
      begin_trial(other);
    } else {
      failed_trials_ = 0;
    }
  }

  void begin_trial(Trial trial) {
    const unsigned tried = trial == Trial::more ? std::min(2 * limit_, most_)
                                                : std::max(limit_ / 2, std::min(kLeast, most_));
    held_rounds_ = 0;
    next_trial_ = trial == Trial::more ? Trial::fewer : Trial::more;
    if (tried == limit_) {
      failed_trials_ = 0;
      return;
    }
    trial_ = trial;
    former_limit_ = limit_;
    limit_ = tried;
    is_counting_ = false;
  }

  void hold() {
    trial_ = Trial::none;
    held_rounds_ = 0;
    is_counting_ = false;
  }

  const unsigned most_;
  unsigned limit_;
  bool is_slow_ = false;

  Trial trial_ = Trial::none;
  Trial next_trial_ = Trial::fewer;     // after kHoldRounds
  unsigned failed_trials_ = 0;          // in succession
  unsigned former_limit_ = 0;           // before the trial
  unsigned held_rounds_ = kHoldRounds;  // since the last trial
  double rate_ = 0;                     // bytes/s, in the last round without a trial

  bool is_counting_ = false;  // a round is under way
  unsigned answers_ = 0;      // these three: of the round
  TimePoint round_begun_{};
  std::uint64_t round_bytes_ = 0;

  std::uint64_t carried_bytes_ = 0;
  struct Window {
    TimePoint begun{};
    std::uint64_t carried_bytes = 0;  // until `begun`
  };
  Window window_;
  Window previous_window_;
  TimePoint busy_{};  // when something was last under way
};

}  // namespace nbdstack
