// Times reported by another machine, as times of this machine's clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <ctime>

namespace nbdstack {

using WallTime = std::chrono::system_clock::time_point;

// `time_s` counts seconds since 1970. The clock counts nanoseconds, and ends in 2262: a later time
// ("9999-12-31", which means never) becomes the clock's last second, and a time before 1970 becomes
// 1970, so that any two times have a difference.
inline WallTime wall_time_of(std::time_t time_s) {
  constexpr auto kLast =
      std::chrono::duration_cast<std::chrono::seconds>(WallTime::duration::max());
  return WallTime(
      std::chrono::seconds(std::clamp<std::chrono::seconds::rep>(time_s, 0, kLast.count())));
}

}  // namespace nbdstack
