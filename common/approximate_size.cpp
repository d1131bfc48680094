#include "common/approximate_size.hpp"

#include <fmt/core.h>

#include <array>
#include <cstddef>

namespace nbdstack {

std::string approximate_size(std::uint64_t size_bytes) {
  constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (size_bytes < 1024) return fmt::format("{} bytes", size_bytes);
  double size = static_cast<double>(size_bytes) / 1024;
  std::size_t unit = 0;
  while (size >= 1024 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", size, kUnits[unit]);
}

}  // namespace nbdstack
