// The times of a lease, all of them fractions of its duration D, which its record carries:
//
//   D/3   the owner renews                                          10 s of the default 30 s
//   D/6   margin                                                     5 s
//   D/6   longest time that one request for the lease may take       5 s
//   D/2   the same at the start, where nobody writes yet            15 s
//   D/30  pause between attempts, and the keeper's look at the time  1 s
//
//   owner      may write until D - margin after it SENT the renewal that succeeded
//   successor  may take over when it has watched the same record for D + margin since the ANSWER
//              that showed it
//
// The record was stored between the sending and any answer that shows it, so the owner stops at
// least 2 * margin before anybody takes over. That is what there is for clocks of unequal rates
// (each counts its own seconds, and nobody looks at another's time of day), and for requests that
// the owner sent before it stopped and that the network delivers late.
#pragma once

#include <algorithm>
#include <chrono>

#include "common/sync/clock.hpp"

namespace nbdstack {

inline constexpr std::chrono::milliseconds kLeaseDuration_default = std::chrono::seconds(30);

struct LeaseTiming {
  std::chrono::milliseconds duration = kLeaseDuration_default;

  [[nodiscard]] Duration renewal_interval() const { return duration / 3; }
  [[nodiscard]] Duration margin() const { return duration / 6; }
  // How long the owner may write after it has sent a renewal.
  [[nodiscard]] Duration validity() const { return duration - duration / 6; }
  // How old a record must be for a successor.
  [[nodiscard]] Duration expiry() const { return duration + duration / 6; }
  // The timeout that the store of a lease is to be given: three attempts to renew fit in before the
  // owner must stop.
  [[nodiscard]] std::chrono::milliseconds request_timeout() const { return duration / 6; }
  // The same while the lease is acquired: one that was stored too late is noticed, and put again.
  [[nodiscard]] std::chrono::milliseconds start_timeout() const { return duration / 2; }
  [[nodiscard]] Duration pause() const {
    return std::min<Duration>(duration / 30, std::chrono::seconds(1));
  }
  // Between two looks of a successor that waits.
  [[nodiscard]] Duration watch_pause() const {
    return std::min<Duration>(duration / 6, std::chrono::seconds(1));
  }
};

}  // namespace nbdstack
