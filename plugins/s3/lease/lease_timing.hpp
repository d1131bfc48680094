// The times of a lease. D is the parameter lease-time, R the duration in a record, which its owner
// chooses anew with each renewal:
//
//   R = D                         while there are writes
//   R = the time without writes   otherwise; at least D, at most 4 D and the largest of a record
//
//   of D   D/10   silence after which a connection is given up (a whole    3 s of the default 30 s
//                 number of seconds, and at least one)
//          2D/10  time limit of one request for the lease: two attempts,   7 s
//                 and a pause
//          D/2    the same at the start, while nothing is written yet      15 s
//          D/30   pause between attempts, and between the keeper's checks  1 s
//                 of the time; at most a second
//   of R   R/6    margin                                                   5 s, of 120 s 20 s
//
//   owner      may write until R - margin after it SENT the renewal that succeeded; renews when the
//              time left is that of three attempts with a pause after each: after 13 s, of 120 s
//              after 88 s
//   successor  may take over when it has watched the same record for R + margin since the ANSWER
//              that showed it
//
// A record is stored between its sending and any answer that shows it, so the owner stops at least
// 2 * margin before a successor takes over. This covers clocks of unequal rates (each server counts
// its own seconds, and none uses another's time of day), and requests that the owner sent before it
// stopped and the network delivers late.
//
// This holds for each record by itself, but an owner does not know which one is stored while a
// renewal is in flight, or if its reply was lost. So its right ends with the earlier of the two
// BEFORE it sends a record with a shorter R, and only a reply prolongs it.
//
// A request has the time of two attempts because a new connection takes two round trips. Where a
// round trip takes 2 s (a queue on a slow line), and each request had the time of one attempt, an
// owner that once gave up a connection could never renew again.
//
// R grows because each renewal is a paid PUT, which a volume at rest needs only to show that its
// owner lives. In return a successor on another machine waits longer for an owner that died during
// that rest, and learns later that one is alive: by at most the time without writes, and at most
// 4 D + margin. This ends with the first write: a renewal with R = D follows it within a pause.
#pragma once

#include <algorithm>
#include <chrono>

#include "common/sync/clock.hpp"

namespace nbdstack {

inline constexpr std::chrono::milliseconds kLeaseDuration_default = std::chrono::seconds(30);
inline constexpr std::chrono::milliseconds kLeaseDuration_min = std::chrono::seconds(5);
inline constexpr std::chrono::milliseconds kLeaseDuration_max = std::chrono::hours(1);

// The times that follow from the duration in a record.
struct RecordTiming {
  std::chrono::milliseconds duration = kLeaseDuration_default;

  [[nodiscard]] Duration margin() const { return Duration(duration) / 6; }
  // Returns how long the owner may write after it has sent the record.
  [[nodiscard]] Duration validity() const { return duration - margin(); }
  // Returns how old the record must be for a successor.
  [[nodiscard]] Duration expiry() const { return duration + margin(); }
};

// The times that follow from lease-time.
struct LeaseTiming {
  std::chrono::milliseconds duration = kLeaseDuration_default;

  // Returns the duration for the record of an owner that has written nothing for `idle`.
  [[nodiscard]] std::chrono::milliseconds record_duration(Duration idle) const {
    const auto longest = std::min(4 * duration, kLeaseDuration_max);
    return std::clamp(std::chrono::floor<std::chrono::milliseconds>(idle), duration, longest);
  }
  // Returns the time from the sending of a record to that of the next one.
  [[nodiscard]] Duration renewal_interval(std::chrono::milliseconds record_duration) const {
    constexpr int kAttempts = 3;
    return RecordTiming{record_duration}.validity() - kAttempts * (attempt_timeout() + pause());
  }
  [[nodiscard]] std::chrono::milliseconds attempt_timeout() const { return duration / 10; }
  // Returns the timeout to set for the store of a lease.
  [[nodiscard]] std::chrono::milliseconds request_timeout() const {
    return 2 * attempt_timeout() + std::chrono::floor<std::chrono::milliseconds>(pause());
  }
  // Returns the timeout while the lease is acquired: a record that was stored too late is noticed
  // and replaced.
  [[nodiscard]] std::chrono::milliseconds start_timeout() const { return duration / 2; }
  [[nodiscard]] Duration pause() const {
    return std::min<Duration>(Duration(duration) / 30, std::chrono::seconds(1));
  }
  // Returns the pause between two reads of a waiting successor.
  [[nodiscard]] Duration watch_pause() const {
    return std::min<Duration>(Duration(duration) / 6, std::chrono::seconds(1));
  }
};

}  // namespace nbdstack
