// Moments that somebody else has told, as the clock of this machine counts them.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace nbdstack {

// Seconds since 1970. The clock counts nanoseconds, and ends in 2262: what is told of a later time
// ("9999-12-31", which means never) is its last moment, and what was before 1970 is its beginning, so
// that two such moments have a difference.
inline std::chrono::system_clock::time_point wall_time_of(std::time_t time_s) {
  using Moment = std::chrono::system_clock::time_point;
  constexpr auto kLast = std::chrono::duration_cast<std::chrono::seconds>(Moment::duration::max());
  return Moment(
      std::chrono::seconds(std::clamp<std::chrono::seconds::rep>(time_s, 0, kLast.count())));
}

}  // namespace nbdstack
