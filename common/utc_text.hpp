// Moments for messages and reports, as everybody reads them: 2026-03-01T12:00:00Z.
#pragma once

#include <fmt/chrono.h>

#include <ctime>
#include <string>

namespace nbdstack {

// Seconds since 1970.
inline std::string utc_text(std::time_t time_s) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time_s));
}

}  // namespace nbdstack
