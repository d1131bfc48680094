// The page of every cache under test.
#pragma once

#include <cstdint>

namespace nbdstack::testing {

inline constexpr std::uint32_t kPage = 4096;

}  // namespace nbdstack::testing
