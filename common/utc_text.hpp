// Writes times in the two forms of ISO 8601.
#pragma once

#include <fmt/chrono.h>

#include <ctime>
#include <string>

#include "common/wall_time.hpp"

namespace nbdstack {

// Returns 2026-03-01T12:00:00Z, for messages and reports. `time_s` counts seconds since 1970.
inline std::string utc_text(std::time_t time_s) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time_s));
}

// Returns 20260301T120000Z, the form of AWS's signatures.
inline std::string basic_utc_text(WallTime time) {
  return fmt::format("{:%Y%m%dT%H%M%SZ}", fmt::gmtime(WallTime::clock::to_time_t(time)));
}

}  // namespace nbdstack
