// Moments that somebody else has told, as the clock of this machine counts them.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace nbdstack {

using WallTime = std::chrono::system_clock::time_point;

// Seconds since 1970. The clock counts nanoseconds, and ends in 2262: what is told of a later time
// ("9999-12-31", which means never) is its last moment, and what was before 1970 is its beginning, so
// that two such moments have a difference.
inline WallTime wall_time_of(std::time_t time_s) {
  constexpr auto kLast =
      std::chrono::duration_cast<std::chrono::seconds>(WallTime::duration::max());
  return WallTime(
      std::chrono::seconds(std::clamp<std::chrono::seconds::rep>(time_s, 0, kLast.count())));
}

}  // namespace nbdstack
