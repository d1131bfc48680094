// Sizes that tests speak of.
#pragma once

#include <cstdint>

namespace nbdstack::testing {

inline constexpr std::uint64_t kKiB = std::uint64_t{1} << 10U;
inline constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;
inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30U;

}  // namespace nbdstack::testing
